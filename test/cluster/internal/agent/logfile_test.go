package agent

import (
	"bytes"
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newTestLog(t *testing.T) (*logFile, *logStream) {
	t.Helper()
	log, err := newLogFile(filepath.Join(t.TempDir(), "c", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(log.end)
	return log, &logStream{log: log, name: "stdout"}
}

func write(t *testing.T, s *logStream, text string) {
	t.Helper()
	if n, err := s.Write([]byte(text)); err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d bytes, error %v", n, len(text), err)
	}
}

func TestLogOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newTestLog(t)
		write(t, out, "one\ntw")
		time.Sleep(10 * time.Second)
		middle := time.Now()
		write(t, out, "o\n\nfour\n")
		write(t, &logStream{log: log, name: "stderr"}, "five\n")
		write(t, out, "six")
		out.flush()
		stamp := middle.UTC().Format(stampLayout)
		for _, c := range []struct{ query, want string }{
			{"", "one\ntwo\n\nfour\nfive\nsix\n"},
			{"tailLines=2", "five\nsix\n"},
			{"tailLines=0", ""},
			{"tailLines=99", "one\ntwo\n\nfour\nfive\nsix\n"},
			{"sinceSeconds=5", "two\n\nfour\nfive\nsix\n"},
			{"sinceTime=" + url.QueryEscape(middle.Format(time.RFC3339)), "two\n\nfour\nfive\nsix\n"},
			{"sinceTime=" + url.QueryEscape(middle.Add(time.Second).Format(time.RFC3339)), ""},
			{"tailLines=1&timestamps=true", stamp + " six\n"},
			{"limitBytes=6", "one\ntw"},
			{"stream=Stderr", "five\n"},
			{"stream=Stdout&tailLines=3", "four\nsix\n"},
		} {
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			options, err := parseLogOptions(query)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := log.copyTo(t.Context(), &got, options); err != nil || got.String() != c.want {
				t.Errorf("%s: %q, error %v; want %q", c.query, got.String(), err, c.want)
			}
		}
	})
}

func TestLogOptionsRefused(t *testing.T) {
	for _, q := range []string{"tailLines=x", "tailLines=-1", "sinceTime=yesterday", "sinceSeconds=0", "limitBytes=0"} {
		query, _ := url.ParseQuery(q)
		if _, err := parseLogOptions(query); err == nil {
			t.Errorf("%s: no error", q)
		}
	}
}

// TestLogLongLine checks that a line of any length is cut in the file and
// whole again for the reader.
func TestLogLongLine(t *testing.T) {
	log, out := newTestLog(t)
	long := strings.Repeat("x", 3*maxLogLine+7)
	write(t, out, long[:maxLogLine/2])
	write(t, out, long[maxLogLine/2:]+"\nnext\n")
	var got bytes.Buffer
	if err := log.copyTo(t.Context(), &got, logOptions{tail: -1}); err != nil || got.String() != long+"\nnext\n" {
		t.Errorf("%d bytes, error %v", got.Len(), err)
	}
	got.Reset()
	if err := log.copyTo(t.Context(), &got, logOptions{tail: 1}); err != nil || got.String() != "next\n" {
		t.Errorf("tail %q, error %v", got.String(), err)
	}
}

func TestLogFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := newTestLog(t)
		write(t, out, "before\n")
		var got bytes.Buffer
		done := make(chan error, 1)
		go func() { done <- log.copyTo(t.Context(), &got, logOptions{tail: -1, follow: true}) }()
		synctest.Wait()
		if got.String() != "before\n" {
			t.Errorf("at first %q", got.String())
		}
		write(t, out, "af")
		write(t, out, "ter\n")
		synctest.Wait()
		if got.String() != "before\nafter\n" {
			t.Errorf("while following %q", got.String())
		}
		write(t, out, "last")
		out.flush()
		log.end()
		if err := <-done; err != nil || got.String() != "before\nafter\nlast\n" {
			t.Errorf("in the end %q, error %v", got.String(), err)
		}
	})
}

func TestLogFollowEndsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := newTestLog(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- log.copyTo(ctx, &bytes.Buffer{}, logOptions{tail: -1, follow: true}) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
