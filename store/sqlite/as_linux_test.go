package sqlite

import (
	"os/exec"
	"syscall"
)

// as lets c run as another user.
func as(c *exec.Cmd, uid uint32) {
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
}
