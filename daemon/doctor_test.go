package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/daemon"
)

// examine runs doctor over a station and returns its verdict on each thing.
func examine(t *testing.T, d daemon.Doctor, c daemon.Config) map[string][]daemon.Finding {
	t.Helper()
	all := map[string][]daemon.Finding{}
	for _, f := range d.Examine(t.Context(), filepath.Join(filepath.Dir(c.Ledger), "station.toml")) {
		all[f.What] = append(all[f.What], f)
	}
	return all
}

func TestDoctorFindsProgramsThatTakePorts(t *testing.T) {
	root := t.TempDir()
	for pid, name := range map[string]string{"17": "ModemManager", "18": "bash"} {
		dir := filepath.Join(root, "proc", pid)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "comm"), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found := examine(t, daemon.Doctor{Root: root}, newStation(t))["rivals"]
	if len(found) != 1 || found[0].Verdict != daemon.Weak || !strings.Contains(found[0].Text, "ModemManager") || found[0].Remedy == "" {
		t.Errorf("rivals = %+v, want ModemManager with a remedy", found)
	}
}

func TestEveryBadFindingHasARemedyOrNamesWhatIsWrong(t *testing.T) {
	c := newStation(t)
	for _, f := range []string{"ledger/head", "authority/index.key", "profiles/camera.toml"} {
		if err := os.Remove(filepath.Join(filepath.Dir(c.Ledger), f)); err != nil {
			t.Fatal(err)
		}
	}
	for what, findings := range examine(t, daemon.Doctor{}, c) {
		for _, f := range findings {
			if f.Verdict == daemon.Wrong && f.Remedy == "" {
				t.Errorf("%s is wrong without a remedy: %s", what, f.Text)
			}
		}
	}
}

func TestDoctorLeavesTheStationAsItIs(t *testing.T) {
	c := newStation(t)
	before, err := os.ReadDir(filepath.Dir(c.Ledger))
	if err != nil {
		t.Fatal(err)
	}
	examine(t, daemon.Doctor{}, c)
	after, err := os.ReadDir(filepath.Dir(c.Ledger))
	if err != nil || len(before) != len(after) {
		t.Errorf("folder has %d entries after doctor (%v), had %d", len(after), err, len(before))
	}
}
