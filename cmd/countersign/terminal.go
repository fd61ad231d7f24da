package main

import (
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/countersign/countersign/adapters/wording"
)

// terminal writes to a person's terminal. What others wrote, such as the body
// of a webhook, must not move its cursor, change its title or fill its
// clipboard: control characters are shown by name. A file or a pipe gets every
// byte as it is.
type terminal struct {
	file *os.File
	rest []byte // the beginning of a character
}

// forPeople is w, made safe if it is a terminal.
func forPeople(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &terminal{file: f}
	}
	return w
}

// Write implements io.Writer.
func (t *terminal) Write(p []byte) (int, error) {
	text := append(t.rest, p...)
	t.rest = nil
	if n := unfinished(text); n > 0 {
		t.rest = append([]byte(nil), text[len(text)-n:]...)
		text = text[:len(text)-n]
	}
	if _, err := t.file.WriteString(wording.Visible(string(text))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes what was the beginning of a character and stayed so.
func (t *terminal) end() error {
	_, err := t.file.WriteString(wording.Visible(string(t.rest)))
	t.rest = nil
	return err
}

// unfinished is how many bytes at the end of text are the beginning of
// something that the next ones complete: of a character, or of a line's end.
func unfinished(text []byte) int {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		return 1
	}
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if b := text[len(text)-n:]; utf8.RuneStart(b[0]) {
			if !utf8.FullRune(b) {
				return n
			}
			return 0
		}
	}
	return 0
}
