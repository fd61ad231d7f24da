package redistest

import "syscall"

// endWithUs has the server end with the test's process, however that ends.
func endWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
