package agent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxLogLine is where a line without an end is cut, as container runtimes do.
const maxLogLine = 16 << 10

// stampLayout has a fixed width, so that lines can be compared as text.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// logFile holds what one run of one container printed, in the format of
// container runtimes: "TIME STREAM F|P TEXT", P for a part of a line.
type logFile struct {
	path string

	mu    sync.Mutex
	file  *os.File
	grown chan struct{} // closed and replaced at each write
	ended bool
}

func newLogFile(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &logFile{path: path, file: f, grown: make(chan struct{})}, nil
}

// add writes lines that are complete, stamps included.
func (l *logFile) add(lines []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	_, _ = l.file.Write(lines) // a full disk loses log lines, not the container
	close(l.grown)
	l.grown = make(chan struct{})
}

// end tells readers that no more will come.
func (l *logFile) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		_ = l.file.Close()
		close(l.grown)
	}
}

// more returns what to wait for, and whether the log has ended.
func (l *logFile) more() (<-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.grown, l.ended
}

// logStream is the writer for stdout or stderr of one container.
type logStream struct {
	log  *logFile
	name string
	part []byte
}

// Write stamps each line with the time its end came.
func (s *logStream) Write(p []byte) (int, error) {
	var out bytes.Buffer
	stamp := time.Now().UTC().Format(stampLayout)
	for rest := p; len(rest) > 0; {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		if room := maxLogLine - len(s.part); len(line) > room {
			line, after, found = rest[:room], rest[room:], false
		}
		s.part, rest = append(s.part, line...), after
		if found || len(s.part) == maxLogLine {
			s.emit(&out, stamp, found)
		}
	}
	if out.Len() > 0 {
		s.log.add(out.Bytes())
	}
	return len(p), nil
}

func (s *logStream) emit(out *bytes.Buffer, stamp string, whole bool) {
	tag := " F "
	if !whole {
		tag = " P "
	}
	out.WriteString(stamp + " " + s.name + tag)
	out.Write(s.part)
	out.WriteByte('\n')
	s.part = s.part[:0]
}

// flush writes a last line that had no end.
func (s *logStream) flush() {
	if len(s.part) > 0 {
		var out bytes.Buffer
		s.emit(&out, time.Now().UTC().Format(stampLayout), true)
		s.log.add(out.Bytes())
	}
}

// logOptions are those of `kubectl logs`.
type logOptions struct {
	follow, timestamps bool
	tail               int // lines; negative for all
	limit              int64
	since              time.Time
	stream             string // stdout, stderr, or empty for both
}

// errLimit ends a copy that has given as many bytes as were asked for.
var errLimit = errors.New("limit reached")

// copyTo writes the log to w and, if asked, what follows until the container
// ends or ctx does.
func (l *logFile) copyTo(ctx context.Context, w io.Writer, o logOptions) error {
	f, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := seekTail(f, o.tail); err != nil {
		return err
	}
	c := logCopier{reader: bufio.NewReader(f), to: w, options: o, left: o.limit}
	for {
		// Asked for before reading: what is written in between is read next time.
		grown, ended := l.more()
		if err := c.copy(); err != nil || ended || !o.follow {
			if errors.Is(err, errLimit) {
				err = nil
			}
			return err
		}
		if flusher, ok := w.(interface{ Flush() }); ok {
			flusher.Flush()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-grown:
		}
	}
}

type logCopier struct {
	reader  *bufio.Reader
	to      io.Writer
	options logOptions
	left    int64
	partial string // a line whose end was not there yet
}

// copy writes every complete line that there is.
func (c *logCopier) copy() error {
	for {
		text, err := c.reader.ReadString('\n')
		c.partial += text
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.line(c.partial); err != nil {
			return err
		}
		c.partial = ""
	}
}

func (c *logCopier) line(line string) error {
	parts := strings.SplitN(line, " ", 4)
	if len(parts) != 4 {
		return nil
	}
	o := c.options
	if o.stream != "" && parts[1] != o.stream {
		return nil
	}
	if !o.since.IsZero() && parts[0] < o.since.UTC().Format(stampLayout) {
		return nil
	}
	text := parts[3]
	if parts[2] == "P" {
		text = strings.TrimSuffix(text, "\n")
	}
	if o.timestamps {
		text = parts[0] + " " + text
	}
	if o.limit > 0 {
		text = text[:min(int64(len(text)), c.left)]
		c.left -= int64(len(text))
	}
	if _, err := io.WriteString(c.to, text); err != nil {
		return err
	}
	if o.limit > 0 && c.left == 0 {
		return errLimit
	}
	return nil
}

// seekTail moves f to where its last n lines begin.
func seekTail(f *os.File, n int) error {
	if n < 0 {
		return nil
	}
	var starts []int64 // of the last n+1 lines
	var at int64
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if starts = append(starts, at); len(starts) > n {
				starts = starts[1:]
			}
			at += int64(len(line))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			at += int64(len(line))
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(starts) > 0 {
		at = starts[0]
	}
	_, err := f.Seek(at, io.SeekStart)
	return err
}
