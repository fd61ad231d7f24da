//go:build unix

package sqlite

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// access is nil if this process may write to the file.
func access(path string) error {
	const write = 2 // W_OK
	return syscall.Access(path, write)
}

// ownerOf names whose file it is, and who we are.
func ownerOf(info fs.FileInfo) (theirs, ours string) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		theirs = fmt.Sprintf("user %d", s.Uid)
		if s.Uid == 0 {
			theirs = "root"
		}
	}
	return theirs, fmt.Sprintf("user %d", os.Geteuid())
}

// giveTo gives a file to the owner of another, as far as this process may.
func giveTo(path string, info fs.FileInfo) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, int(s.Uid), int(s.Gid))
}
