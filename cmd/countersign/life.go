package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/countersign/countersign/store/redis"
)

// maxLives is how many processes on one machine can be told apart, as with a
// test of several replicas; further ones have no name.
const maxLives = 16

// lifeName names this process so that one which is started again after it died
// has its name, and no process that lives has it: by the machine, the address
// that is listened on and the store, and by a file in the folder for temporary
// files that is locked as long as the process lives. It is empty if that is not
// to be had, and with SQLite, whose leases end with the process. free ends the
// lock.
func lifeName(cfg config) (name string, free func()) {
	host, err1 := os.Hostname()
	store, err2 := redis.Address(cfg.storeURL.Reveal())
	if err1 != nil || err2 != nil {
		return "", func() {}
	}
	machine := strings.Join(append(addresses(), host, cfg.Listen, store), " ")
	if os.Getpid() == 1 {
		// In a container of its own: who was here before has ended with it.
		return machine, func() {}
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("countersign-%x", sha256.Sum256([]byte(machine)))[:28])
	for i := range maxLives {
		lock := flock.New(fmt.Sprintf("%s.%d", file, i), flock.SetPermissions(0o600))
		if ok, err := lock.TryLock(); err != nil {
			break
		} else if ok {
			return fmt.Sprintf("%s %d", machine, i), func() { _ = lock.Close() }
		}
	}
	return "", func() {}
}

// addresses are this machine's, without the loopback: a container of the same
// name on another machine is another one.
func addresses() []string {
	all, _ := net.InterfaceAddrs()
	var list []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			list = append(list, n.IP.String())
		}
	}
	slices.Sort(list)
	return list
}
