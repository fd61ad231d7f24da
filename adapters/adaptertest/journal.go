package adaptertest

import (
	"bytes"
	"sync"
)

// Journal keeps a log, to be searched for secrets. It is safe for concurrent
// use.
type Journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds p.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// String is all that was written.
func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}
