package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

var errClosed = errors.New("the store is closed")

// ErrAway means that Redis cannot be used now and that this may pass by
// itself. Other errors of Open and Begin stay until somebody acts.
var ErrAway = errors.New("redis is away")

// away is an error that is ErrAway and says what it says.
type away struct{ error }

func (e away) Is(target error) bool { return target == ErrAway }
func (e away) Unwrap() error        { return e.error }

// passing lists the first words of Redis' errors that pass by themselves.
var passing = []string{"READONLY", "OOM", "MISCONF", "LOADING", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN"}

// staying reports whether err, which is no answer of Redis, stays: TLS is
// missing on one side, or its certificate is not trusted.
func staying(err error) bool {
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError
	return errors.As(err, &record) || errors.As(err, &certificate) || errors.As(err, &alert)
}

// sayServerName is said of a certificate for another name.
const sayServerName = "Sentinel and Cluster give out addresses as numbers: add &server_name=NAME to the address, with a name that the certificates of all nodes are for, or let the nodes announce their names"

// errNumberUsed means that the counter gave out a number that a ticket has:
// somebody has put it back.
var errNumberUsed = errors.New("the counter of ticket numbers is behind the tickets; it moves on with each try")

// said turns a client's error into what the operator reads. Redis' own words
// may quote what was sent to it, a password included, so that only their
// beginning is taken.
func said(err error) error {
	var once unanswered
	if errors.As(err, &once) {
		err = once.err
	}
	var answer goredis.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, goredis.ErrClosed):
		return errClosed
	case errors.As(err, &answer):
		code, _, _ := strings.Cut(answer.Error(), " ")
		if say, ok := answers[code]; ok {
			err := fmt.Errorf("%s (Redis answers %s)", say, code)
			if slices.Contains(passing, code) {
				return away{err}
			}
			return err
		}
		text := answer.Error()
		if i := strings.IndexAny(text, "'\"`,\n"); i >= 0 {
			text = text[:i]
		}
		return fmt.Errorf("redis answers: %s", text)
	case errors.Is(err, goredis.ErrPoolTimeout):
		return away{errors.New("all connections to Redis are busy")}
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Errorf("redis cannot be reached: %w. "+sayServerName, err)
	case staying(err):
		return fmt.Errorf("redis cannot be reached: %w", err)
	}
	return away{fmt.Errorf("redis cannot be reached: %w", err)}
}

// answers says what the first word of Redis' error means.
var answers = map[string]string{
	"READONLY":    "this Redis is a replica and takes no writes: name the master in the address, or Sentinel",
	"OOM":         "Redis has no memory left: raise maxmemory",
	"MISCONF":     "Redis cannot write to its disk",
	"LOADING":     "Redis is reading its data after a start",
	"NOAUTH":      "Redis wants a password: put it in the address",
	"WRONGPASS":   "Redis refuses the user or the password",
	"NOPERM":      "Redis does not allow this user to do what the store needs",
	"CLUSTERDOWN": "the cluster is not complete",
	"MASTERDOWN":  "this Redis is a replica without its master",
	"NOREPLICAS":  "Redis has too few replicas to take writes",
	"MOVED":       "this Redis is part of a cluster: begin the address with redis+cluster:// or rediss+cluster://",
	"BUSY":        "Redis is busy with a script",
}

// sendOnce keeps the cluster client from sending a command again after it may
// have arrived: what came of it would be unclear twice. Answers, and dialing
// that failed, pass as they are: then nothing was done.
type sendOnce struct{}

// unanswered hides an error from the client's rules for sending again.
type unanswered struct{ err error }

func (u unanswered) Error() string { return u.err.Error() }

func (sendOnce) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (sendOnce) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}

func (sendOnce) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		var answer goredis.Error
		var op *net.OpError
		if err == nil || errors.As(err, &answer) || errors.As(err, &op) && op.Op == "dial" {
			return err
		}
		return unanswered{err}
	}
}
