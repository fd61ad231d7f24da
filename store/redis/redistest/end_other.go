//go:build !linux

package redistest

import "syscall"

// endWithUs would have the server end with the test's process; only Linux can.
func endWithUs() *syscall.SysProcAttr { return nil }
