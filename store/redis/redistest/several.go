package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Sentinels are a master, its replica, and three Sentinels that watch them.
// The servers want Password.
type Sentinels struct {
	Servers  []*Server // master and replica, until the first failover
	Watchers []*Server // the Sentinels
}

// Master is the name under which the Sentinels watch the master.
const Master = "countersign"

// StartSentinels starts them and waits until each Sentinel knows the others
// and the replica.
func StartSentinels(dir string) (_ *Sentinels, err error) {
	s := &Sentinels{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	master, err := Start(Config{Dir: dir, Password: true})
	if err != nil {
		return nil, err
	}
	s.Servers = append(s.Servers, master)
	replica, err := Start(Config{Dir: dir, Password: true, Args: []string{"--replicaof", "127.0.0.1 " + strconv.Itoa(master.Port), "--repl-diskless-sync-delay", "0"}})
	if err != nil {
		return nil, err
	}
	s.Servers = append(s.Servers, replica)
	for range 3 {
		w, err := startSentinel(dir, master)
		if err != nil {
			return nil, err
		}
		s.Watchers = append(s.Watchers, w)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	return s, eventually(ctx, func() error { return s.complete(ctx) })
}

func startSentinel(dir string, master *Server) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Port: port, dir: filepath.Join(dir, strconv.Itoa(port))}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(s.dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %q\nsentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %[3]s 500\n"+
		"sentinel failover-timeout %[3]s 3000\nsentinel auth-pass %[3]s %[5]q\n", port, s.dir, Master, master.Port, Password)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.args = []string{conf, "--sentinel"}
	return s, s.Restart()
}

// complete is nil once the Sentinels can agree on a failover.
func (s *Sentinels) complete(ctx context.Context) error {
	for _, w := range s.Watchers {
		c := redis.NewSentinelClient(&redis.Options{Addr: w.Addr(), MaxRetries: -1})
		m, err := c.Master(ctx, Master).Result()
		_ = c.Close()
		if err != nil {
			return err
		}
		if m["num-other-sentinels"] != "2" || m["num-slaves"] != "1" || m["flags"] != "master" {
			return fmt.Errorf("a Sentinel sees %v", m)
		}
	}
	c := s.Servers[1].Client()
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = errors.New("the replica has no link to its master")
	}
	return err
}

// URL is the address of a tenant's store.
func (s *Sentinels) URL(tenant string) string {
	return "redis+sentinel://:" + url.PathEscape(Password) + "@" + addrs(s.Watchers) + "/0?" + url.Values{"master": {Master}, "tenant": {tenant}}.Encode()
}

// Close ends all processes.
func (s *Sentinels) Close() { closeAll(append(s.Watchers, s.Servers...)) }

// Cluster is three nodes that share the slots.
type Cluster struct{ Nodes []*Server }

const slots = 16384

// StartCluster starts the nodes and waits until all slots are served.
func StartCluster(dir string) (_ *Cluster, err error) {
	c := &Cluster{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	var buses []int
	for i := range 3 {
		bus, err := freePort()
		if err != nil {
			return nil, err
		}
		n, err := Start(Config{Dir: dir, Args: []string{"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "2000"}})
		if err != nil {
			return nil, err
		}
		c.Nodes, buses = append(c.Nodes, n), append(buses, bus)
		client := n.Client()
		defer func() { _ = client.Close() }()
		if err := client.ClusterAddSlotsRange(ctx, i*slots/3, (i+1)*slots/3-1).Err(); err != nil {
			return nil, err
		}
		if i > 0 {
			if err := client.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", c.Nodes[0].Port, buses[0]).Err(); err != nil {
				return nil, err
			}
		}
	}
	return c, eventually(ctx, func() error { return c.complete(ctx) })
}

func (c *Cluster) complete(ctx context.Context) error {
	for _, n := range c.Nodes {
		client := n.Client()
		info, err := client.ClusterInfo(ctx).Result()
		_ = client.Close()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") {
			return fmt.Errorf("the cluster is not complete:\n%s", info)
		}
	}
	return nil
}

// URL is the address of a tenant's store.
func (c *Cluster) URL(tenant string) string {
	return "redis+cluster://" + addrs(c.Nodes) + "?" + url.Values{"tenant": {tenant}}.Encode()
}

// Close ends all processes.
func (c *Cluster) Close() { closeAll(c.Nodes) }

func closeAll(list []*Server) {
	for _, s := range list {
		s.Close()
	}
}

func addrs(list []*Server) string {
	var hosts []string
	for _, s := range list {
		hosts = append(hosts, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)))
	}
	return strings.Join(hosts, ",")
}
