// Command mintmark gives every device on a factory line its own credentials,
// proves that the device uses them, and refuses any reuse.
//
// stdout is data, stderr is talk. The exit status is 0 for done, 1 for refused or
// failed and 2 for wrong usage. An error is a line that starts with "mintmark:",
// and may be followed by one that starts with "mintmark: hint:".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.main(ctx, os.Args[1:]))
}
