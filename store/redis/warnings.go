package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// Warnings says, in sentences for the operator, why this Redis may lose
// writes that it has acknowledged. None is a Redis that keeps them. It looks
// at the server that holds this store's keys now.
func (s *Store) Warnings(ctx context.Context) []string {
	found, unchecked := s.Durability(ctx)
	return append(found, unchecked...)
}

// Durability is the same, apart: what was found, and what could not be looked
// at, because many a Redis of a provider does not let its settings be read.
func (s *Store) Durability(ctx context.Context) (found, unchecked []string) {
	leave, err := s.enter()
	if err != nil {
		return nil, []string{err.Error()}
	}
	defer leave()
	node := s.c.(interface {
		ConfigGet(ctx context.Context, parameter string) *goredis.MapStringStringCmd
		Info(ctx context.Context, sections ...string) *goredis.StringCmd
	})
	if cluster, ok := s.c.(*goredis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, s.k.schema())
		if err != nil {
			return nil, []string{fmt.Sprintf("Whether this Redis keeps what it acknowledges could not be checked: %v.", s.failed(ctx, err))}
		}
		node = master
	}
	settings := map[string]string{}
	for _, pattern := range []string{"append*", "maxmemory-policy", "min-replicas-to-write"} {
		values, err := node.ConfigGet(ctx, pattern).Result()
		if err != nil {
			return nil, []string{fmt.Sprintf("Whether this Redis keeps what it acknowledges could not be checked, because CONFIG GET does not work here: %v. "+
				"See to it that appendonly is yes, appendfsync is always and maxmemory-policy is noeviction.", s.failed(ctx, err))}
		}
		for k, v := range values {
			settings[k] = v
		}
	}
	found = lossy(settings)
	info, err := node.Info(ctx, "replication").Result()
	if err != nil {
		return found, append(unchecked, fmt.Sprintf("Whether a failover of this Redis may lose writes could not be checked: %v.", s.failed(ctx, err)))
	}
	return append(found, failover(info, settings)...), nil
}

// lossy looks at the settings of one server.
func lossy(settings map[string]string) []string {
	var list []string
	switch {
	case settings["appendonly"] != "yes":
		list = append(list, "Redis keeps no append-only file (appendonly is no): a crash or a restart loses everything since its last snapshot. Set appendonly yes and appendfsync always.")
	case settings["appendfsync"] != "always":
		much := "about the last second"
		if settings["appendfsync"] == "no" {
			much = "what the operating system had not written, often half a minute,"
		}
		list = append(list, fmt.Sprintf("Redis acknowledges writes before they are on its disk (appendfsync is %s): if its machine fails, %s is lost. Set appendfsync always.", settings["appendfsync"], much))
	}
	// None of our keys expires, so that the volatile policies spare them.
	if p := settings["maxmemory-policy"]; strings.HasPrefix(p, "allkeys-") {
		list = append(list, fmt.Sprintf("Redis throws tickets away when its memory is full (maxmemory-policy is %s). Set maxmemory-policy noeviction.", p))
	}
	return list
}

// failover looks at the replicas.
func failover(info string, settings map[string]string) []string {
	replicas := 0
	for line := range strings.Lines(info) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "connected_slaves:"); ok {
			replicas, _ = strconv.Atoi(n)
		}
	}
	if replicas > 0 && settings["min-replicas-to-write"] == "0" {
		return []string{"Redis copies to its replicas after it has acknowledged, so that a failover may lose the last writes; and cut off from them it goes on taking writes, all of which are lost when one of them takes over. Set min-replicas-to-write 1: that bounds it to min-replicas-max-lag seconds, which is 10 if not set."}
	}
	return nil
}
