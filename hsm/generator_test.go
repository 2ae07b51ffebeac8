package hsm_test

import (
	"testing"

	"mintmark/hsm"
)

func TestDefaultsMeetTheirFloors(t *testing.T) {
	for _, kind := range []string{hsm.LoginPassword, hsm.WifiPSK, hsm.PIN, hsm.SymmetricKey, hsm.APIKey} {
		g, ok := hsm.Default(kind)
		if !ok {
			t.Fatalf("Default(%q) is unknown", kind)
		}
		if err := g.Check(); err != nil {
			t.Errorf("Check of the default %s: %v", kind, err)
		}
	}
}
