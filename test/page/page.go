// Package page reads the commands of a page of documentation and compares what they
// print with what the page shows.
//
// Every ```console block is commands and their output: lines that begin with "$ " are
// commands (a trailing backslash continues one, <<'EOS' goes on to a line EOS), the
// lines below are what they print. "..." stands for any text within a line, and alone
// on a line for any lines. What differs from run to run (ports of simulated servers,
// times) is made equal on both sides first.
package page

import (
	"fmt"
	"regexp"
	"strings"
)

// hereDocument begins a command that goes on until a line "EOS".
var hereDocument = regexp.MustCompile(`<<'EOS'$`)

// Command is one command of a page.
type Command struct {
	// Line is the command as a shell takes it; it may have several lines.
	Line string
	// Output is what the page shows of it; nil: not shown, not compared.
	Output []string
}

// Commands returns the commands of a page's console blocks, in order.
func Commands(page string) []Command {
	var out []Command
	inside, continued, until := false, false, ""
	for _, line := range strings.Split(page, "\n") {
		switch {
		case !inside:
			inside = line == "```console"
		case strings.HasPrefix(line, "```"):
			inside = false
		case until != "":
			out[len(out)-1].Line += "\n" + line
			if line == until {
				until = ""
			}
		case continued:
			out[len(out)-1].Line += "\n" + line
			continued = strings.HasSuffix(line, "\\")
		case strings.HasPrefix(line, "$ "):
			out = append(out, Command{Line: line[2:]})
			continued = strings.HasSuffix(line, "\\")
			if hereDocument.MatchString(line) {
				until = "EOS"
			}
		case len(out) > 0:
			last := &out[len(out)-1]
			last.Output = append(last.Output, line)
		}
	}
	return out
}

// adminFlag is what the gateway adds to advice when its admin port is not the
// usual one, which in the sandbox it never is.
var adminFlag = regexp.MustCompile(` --admin 127\.0\.0\.1:\d+`)

// varying is what no two runs have in common.
var varying = regexp.MustCompile(`127\.0\.0\.1:\d{5}|\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`)

// Differs says how got differs from what the page shows for c, "" if it does not.
// moved is what the page's text is on this machine, such as with other ports.
func (c Command) Differs(got string, moved func(string) string) string {
	want := strings.TrimSpace(strings.Join(c.Output, "\n"))
	if want == "" || regexp.MustCompile(outputPattern(moved(want))).MatchString(plain(got)) {
		return ""
	}
	return fmt.Sprintf("$ %s\nprinted\n%s\nand the page says\n%s", c.Line, got, want)
}

// plain makes equal what varies, and the spaces that line columns up with it.
func plain(s string) string {
	s = adminFlag.ReplaceAllString(s, "")
	s = varying.ReplaceAllString(strings.TrimSpace(s), "…")
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(s, " ")
}

func outputPattern(want string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for i, line := range strings.Split(plain(want), "\n") {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?s:.*?)`)
			continue
		}
		if i > 0 {
			b.WriteString(`\n?`)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), `\.\.\.`, `.*`) + ` *`)
	}
	return b.String() + `\s*\z`
}
