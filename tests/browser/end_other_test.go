//go:build !linux

package browser

import "syscall"

func endWithUs() *syscall.SysProcAttr { return nil }
