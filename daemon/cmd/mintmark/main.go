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
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr}
	os.Exit(a.main(ctx, os.Args[1:]))
}

// untilSignal returns a context that the first signal to end is the end of. It is
// caught only once: the second kills, in case that the end takes too long.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
