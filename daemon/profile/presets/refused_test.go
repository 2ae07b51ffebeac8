package presets_test

import (
	"regexp"
	"testing"
	"time"

	"mintmark/daemon/profile"
)

// TestOnlyARefusalOfThePasswordCountsAsRefused is about the words of the shell
// preset: a device is said to refuse a candidate only where it says just that.
func TestOnlyARefusalOfThePasswordCountsAsRefused(t *testing.T) {
	p, err := profile.Parse([]byte(device+camera), "device.toml", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	refused := regexp.MustCompile("(?m)" + p.Driver.Vars["refused"])
	for _, tt := range []struct {
		text string
		want bool
	}{
		{"Login incorrect\n", true},
		{"\nlogin incorrect.\nLogin: ", true},
		{"Login failed\n", true},
		{"Incorrect password\n", true},
		{"Password incorrect!\n", true},
		{"password is wrong\n", true},
		{"Error: invalid credentials\n", true},
		{"login: authentication failed\n", true},
		{"Access denied.\n", true},
		{"Permission denied\n", true},
		{"Bad PIN\n", true},
		{"Invalid username or password\n", true},

		{"mintmark:~$ ", false},
		{"Password: ", false},
		{"invalid> ", false},
		{"OK\n", false},
		{"Welcome, 3 failed logins since the last one\n", false},
		{"Login failed 3 times since the last one\n", false},
		{"ERROR\n", false},
		{"error: command not found\n", false},
		{"login: invalid number of arguments\n", false},
		{"Invalid argument\n", false},
		{"[00:00:12.345,000] <err> sensor: read failed\n", false},
		{"E (1234) wifi: authentication failed\n", false},
		{"wifi: authentication failed\n", false},
		{"<wrn> tls: access denied\n", false},
		{"FAT-fs: invalid partition\n", false},
		{"0 errors, 0 failures\n", false},
		{"Login incorr", false}, // still arriving
	} {
		if got := refused.MatchString(tt.text); got != tt.want {
			t.Errorf("%q counts as refused: %v, want %v", tt.text, got, tt.want)
		}
	}
}
