package file

import "strconv"

// place is a line of a file, counted from 1. Line 0 is the file as a whole.
type place struct {
	path string
	line int
}

func (p place) String() string {
	if p.line == 0 {
		return p.path
	}
	return p.path + ":" + strconv.Itoa(p.line)
}
