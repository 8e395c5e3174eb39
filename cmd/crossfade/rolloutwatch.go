package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"crossfade.dev/internal/rollout/screen"
	"github.com/spf13/cobra"
)

// Control sequences of ECMA-48 and xterm: the other screen and back, the cursor
// away and back, home, and erase to the end of the line and of the screen.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	cursorHome  = "\x1b[H"
	eraseLine   = "\x1b[K"
	eraseBelow  = "\x1b[J"
)

// runUntilInterrupt calls run with a context that SIGINT or SIGTERM ends, which is
// how one leaves a view and no error.
func runUntilInterrupt(cmd *cobra.Command, run func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// watch shows the rollout until ctx ends. A read that fails is told and tried again:
// servers restart.
func (f *rolloutFlags) watch(ctx context.Context, h home, s *subject, t terminal) error {
	if _, _, ok := t.size(); !ok {
		return f.watchLines(ctx, h, s, t.out)
	}
	if _, err := io.WriteString(t.out, enterScreen); err != nil {
		return err
	}
	last, err := f.watchScreen(ctx, h, s, t)
	// What was seen last stays on the normal screen.
	_, leaveErr := io.WriteString(t.out, leaveScreen+last)
	return errors.Join(err, leaveErr)
}

func (f *rolloutFlags) watchScreen(ctx context.Context, h home, s *subject, t terminal) (last string, err error) {
	trouble := ""
	for {
		columns, rows, _ := t.size()
		notes := s.notes()
		if trouble != "" {
			notes = append(notes, "⚠ "+trouble)
		}
		last = screen.Print(s.report(), screen.Options{Now: time.Now(), Width: columns, Colour: t.colour}, notes...)
		if _, err := io.WriteString(t.out, frame(last, rows)); err != nil {
			return last, err
		}
		if !sleep(ctx, f.redraw) {
			return last, nil
		}
		next, err := again(ctx, h, s)
		if trouble = ""; err != nil {
			trouble = err.Error()
			continue
		}
		s = next
	}
}

// frame is a screen drawn over the one before, at most rows high: more would make
// the terminal scroll.
func frame(text string, rows int) string {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	if rows > 0 && len(lines) > rows {
		lines = lines[:rows]
	}
	var b strings.Builder
	b.WriteString(cursorHome)
	for i, l := range lines {
		b.WriteString(strings.TrimSuffix(l, "\n") + eraseLine)
		if i < len(lines)-1 {
			b.WriteString("\r\n")
		}
	}
	b.WriteString(eraseBelow)
	return b.String()
}

func (f *rolloutFlags) watchLines(ctx context.Context, h home, s *subject, out io.Writer) error {
	var log screen.Log
	trouble := ""
	for {
		if line := log.Line(s.report()); line != "" {
			if _, err := fmt.Fprintln(out, line); err != nil {
				return err
			}
		}
		if !sleep(ctx, f.redraw) {
			return nil
		}
		next, err := again(ctx, h, s)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && err.Error() != trouble:
			trouble = err.Error()
			if _, err := fmt.Fprintf(out, "%s  %s  ⚠ %s\n", time.Now().UTC().Format(time.RFC3339), s.name(), trouble); err != nil {
				return err
			}
		case err == nil:
			s, trouble = next, ""
		}
	}
}

// again reads the rollout anew.
func again(ctx context.Context, h home, s *subject) (*subject, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	o, err := h.get(ctx, s.object.Namespace, s.object.Name)
	if err != nil {
		return nil, err
	}
	return readSubject(o)
}

// sleep waits, and reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
