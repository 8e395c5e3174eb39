package screen

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// hue is the meaning of a colour.
type hue int

const (
	plain hue = iota
	good
	bad
	warn
	busy
	faint
	strong
)

// codes are the SGR parameters of ECMA-48 for each hue.
var codes = [...]string{plain: "", good: "32", bad: "31", warn: "33", busy: "36", faint: "2", strong: "1"}

// span is text of one hue.
type span struct {
	text string
	hue  hue
}

// line is what stands on one line of a screen.
type line []span

func text(s string) line { return line{{clean(s), plain}} }

// clean takes out what would move a terminal's cursor or change its state: names
// and reasons come from strangers.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, s)
}

// width is how many columns the line takes. All we print by ourselves is one column
// wide each.
func (l line) width() (n int) {
	for _, s := range l {
		n += utf8.RuneCountInString(s.text)
	}
	return n
}

// cut shortens the line to at most columns, with a mark at the cut; 0 is no limit.
func (l line) cut(columns int) line {
	if columns <= 0 || l.width() <= columns {
		return l
	}
	var out line
	left := columns - 1
	for _, s := range l {
		if n := utf8.RuneCountInString(s.text); n > left {
			out = append(out, span{string([]rune(s.text)[:max(left, 0)]) + "…", s.hue})
			return out
		}
		left -= utf8.RuneCountInString(s.text)
		out = append(out, s)
	}
	return out
}

// paint writes the line, with colours if asked, without spaces at its end.
func (l line) paint(b *strings.Builder, colour bool) {
	for len(l) > 0 && strings.TrimRight(l[len(l)-1].text, " ") == "" {
		l = l[:len(l)-1]
	}
	for i, s := range l {
		t := s.text
		if i == len(l)-1 {
			t = strings.TrimRight(t, " ")
		}
		if code := codes[s.hue]; colour && code != "" {
			t = "\x1b[" + code + "m" + t + "\x1b[0m"
		}
		b.WriteString(t)
	}
}

// grid is a table; cells are lines.
type grid [][]line

func (g *grid) row(cells ...line) { *g = append(*g, cells) }

// head adds a row of headings.
func (g *grid) head(words ...string) {
	cells := make([]line, len(words))
	for i, w := range words {
		cells[i] = line{{w, faint}}
	}
	g.row(cells...)
}

// lines lays the table out, two columns between two cells.
func (g grid) lines() []line {
	var widths []int
	for _, row := range g {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], cell.width())
		}
	}
	out := make([]line, len(g))
	for r, row := range g {
		for i, cell := range row {
			out[r] = append(out[r], cell...)
			if i < len(row)-1 {
				out[r] = append(out[r], span{strings.Repeat(" ", widths[i]-cell.width()+2), plain})
			}
		}
	}
	return out
}
