package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/records"
)

// Exit statuses.
const (
	done    = 0
	refused = 1
	usage   = 2
)

// An app is one run of the program.
type app struct {
	in       *os.File
	out, err *os.File
}

// commands is the command line as people see it.
type commands struct {
	Init    initCommand    `cmd:"" help:"Make a station folder that works at once."`
	Demo    demoCommand    `cmd:"" help:"Show a whole simulated line, from an empty folder to a refused batch."`
	Run     runCommand     `cmd:"" help:"Run the station: take devices in the slots until told to stop."`
	Profile profileCommand `cmd:"" help:"Say what is wrong or weak about a product profile."`
	Batch   batchCommand   `cmd:"" help:"Check, import, open, hold, close and look at batches."`
	Device  deviceCommand  `cmd:"" help:"Look at devices, order rework, hand over a scan."`
	Ledger  ledgerCommand  `cmd:"" help:"Verify, count, back up and restore the ledger."`
	Doctor  doctorCommand  `cmd:"" help:"Say what is missing or wrong on this station, with the remedy."`
	Version versionCommand `cmd:"" help:"Say which program this is."`
}

const about = `Gives every device its own credentials, proves that the device uses them, and refuses any reuse.

stdout is data, stderr is talk. Exit status: 0 done, 1 refused or failed, 2 wrong usage.`

// main runs the command that args name and returns the exit status.
func (a *app) main(ctx context.Context, args []string) int {
	var c commands
	parser, err := kong.New(&c, kong.Name("mintmark"), kong.Description(about), kong.Writers(a.out, a.err),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(a))
	if err != nil {
		panic("mintmark: internal error: " + err.Error())
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		a.misused(parser, err)
		return usage
	}
	if err := cmd.Run(); err != nil {
		a.complain(ctx, err)
		return refused
	}
	return done
}

// misused shows the usage of as much of the command as was understood.
func (a *app) misused(parser *kong.Kong, err error) {
	parser.Stdout = a.err
	var wrong *kong.ParseError
	if errors.As(err, &wrong) {
		_ = wrong.Context.PrintUsage(true) // stderr is gone if this fails
	}
	fmt.Fprintf(a.err, "mintmark: %v\n", err)
}

// complain prints every line of an error, then the hint if there is one.
func (a *app) complain(ctx context.Context, err error) {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.err, "mintmark: interrupted")
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(a.err, "mintmark: %s\n", strings.TrimRight(line, "\n"))
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.err, "mintmark: hint: %s\n", hint)
	}
}

func hintOf(err error) string {
	var e *api.Error
	var r *records.Refusal
	switch {
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &r):
		return r.Hint
	case errors.Is(err, os.ErrNotExist) && strings.HasPrefix(err.Error(), "read configuration"):
		return "mintmark init DIR makes a station; --config names its station.toml"
	case errors.Is(err, os.ErrPermission):
		return "run it as the user of the station, or as a member of the group of its socket"
	}
	return ""
}

// talk tells people something that is no data.
func (a *app) talk(format string, args ...any) {
	fmt.Fprintf(a.err, "mintmark: "+format+"\n", args...)
}

// print writes v as one line of JSON.
func (a *app) print(v any) error { return json.NewEncoder(a.out).Encode(v) }

func terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// A stationFlag names the station that a command is about.
type stationFlag struct {
	Config string `help:"Configuration of the station." default:"station.toml" placeholder:"FILE"`
}

// A jsonFlag asks for output that programs read.
type jsonFlag struct {
	JSON bool `help:"Print JSON." name:"json"`
}

// with calls f with a client of the station: of its daemon if that runs.
func (s stationFlag) with(ctx context.Context, f func(*api.Client) error) error {
	c, err := daemon.ReadConfig(s.Config)
	if err != nil {
		return err
	}
	conn, err := daemon.Connect(ctx, c, version())
	if err != nil {
		return err
	}
	return errors.Join(f(conn.Client), conn.Close())
}

type versionCommand struct{}

func (versionCommand) Run(a *app) error {
	_, err := fmt.Fprintln(a.out, "mintmark", version())
	return err
}

// version is the version control revision that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, changed := "development", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 12:
			revision = s.Value[:12]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	return revision + changed
}
