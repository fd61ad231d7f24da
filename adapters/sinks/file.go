package sinks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

// File appends notices to a file, each as a line. It is opened anew for each
// delivery, so that it can be moved away at any time. Make one with [NewFile].
type File struct {
	path string
	mu   sync.Mutex
}

// NewFile makes a File. The file need not exist, its folder must.
func NewFile(path string) (*File, error) {
	if path == "" {
		return nil, errors.New("file: no path")
	}
	return &File{path: path}, nil
}

// Deliver appends list, and returns when it is on the disk.
func (f *File) Deliver(_ context.Context, list []tickets.EventEnvelope) (taken int, err error) {
	var lines bytes.Buffer
	for _, n := range list {
		b, err := encode(n)
		if err != nil {
			return 0, &tickets.Failure{Class: tickets.Rejected, Err: err}
		}
		lines.Write(append(b, '\n'))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.append(lines.Bytes()); err != nil {
		return 0, &tickets.Failure{Class: tickets.Ambiguous, Err: err}
	}
	return len(list), nil
}

func (f *File) append(lines []byte) error {
	if err := AppendLines(f.path, 0o640, lines); err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	return nil
}

// AppendLines appends whole lines to a file, which somebody may move away at
// any time and which is made with perm if it is not there, and returns when
// they are on the disk.
func AppendLines(path string, perm fs.FileMode, lines []byte) (err error) {
	file, err := open(path, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	// A line that a full disk has cut off must not run into ours.
	if last := make([]byte, 1); info.Size() > 0 {
		if _, err := file.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			lines = append([]byte{'\n'}, lines...)
		}
	}
	if _, err := file.Write(lines); err != nil {
		return err
	}
	return file.Sync()
}

var errNotRegular = errors.New("it is no regular file")

// open opens a file, or makes it. A pipe or a device would hold up whoever
// opens it.
func open(path string, perm fs.FileMode) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, perm)
}

// Check looks whether the file can be written, and writes nothing into it.
func (f *File) Check(context.Context) adapters.Finding {
	what := "the file for events " + f.path
	if err := f.probe(); err != nil {
		return adapters.Finding{
			What: what, Problem: err.Error(),
			Fix: "Make the folder " + filepath.Dir(f.path) + " and let the bot's user read and write the file there, or correct COUNTERSIGN_EVENTS_FILE.",
		}
	}
	return adapters.Finding{What: what + ": can be written"}
}

func (f *File) probe() error {
	if _, err := os.Stat(f.path); errors.Is(err, fs.ErrNotExist) {
		// Whoever runs this may be another user than the bot: it shall not find
		// a file that it cannot open.
		probe, err := os.CreateTemp(filepath.Dir(f.path), ".countersign-doctor-")
		if err != nil {
			return err
		}
		return errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	file, err := open(f.path, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}
