package main

import "testing"

func TestTheDemoPromisesOnlyWhatCameOut(t *testing.T) {
	for problems, want := range map[int]string{0: "verified clean", 1: "1 problem, see below", 3: "3 problems, see below"} {
		if got := verdict(problems, "verified clean"); got != want {
			t.Errorf("verdict of %d problems is %q, want %q", problems, got, want)
		}
	}
}
