package slacktest

import (
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed methods/*.json
var methodFiles embed.FS

// methodSpec is Slack's page of one method.
type methodSpec struct {
	Args map[string]struct {
		Required bool `json:"required"`
	} `json:"args"`
	Errors    map[string]string `json:"errors"`
	RateLimit struct {
		Label string `json:"label"`
	} `json:"rate_limit"`
	Scopes struct {
		Bot []struct {
			Name string `json:"name"`
		} `json:"bot"`
	} `json:"scopes"`
	perMinute int
}

type specSet struct {
	methods map[string]*methodSpec
	common  map[string]string
}

var perMinute = regexp.MustCompile(`(\d+)\+ per minute`)

// specs reads the embedded pages once.
var specs = sync.OnceValues(func() (*specSet, error) {
	set := &specSet{methods: map[string]*methodSpec{}}
	files, err := methodFiles.ReadDir("methods")
	if err != nil {
		return nil, fmt.Errorf("method pages: %w", err)
	}
	for _, f := range files {
		data, err := methodFiles.ReadFile(path.Join("methods", f.Name()))
		if err != nil {
			return nil, fmt.Errorf("method page %s: %w", f.Name(), err)
		}
		if f.Name() == "common_errors.json" {
			if err := json.Unmarshal(data, &set.common); err != nil {
				return nil, fmt.Errorf("method page %s: %w", f.Name(), err)
			}
			continue
		}
		m := &methodSpec{}
		if err := json.Unmarshal(data, m); err != nil {
			return nil, fmt.Errorf("method page %s: %w", f.Name(), err)
		}
		if found := perMinute.FindStringSubmatch(m.RateLimit.Label); found != nil {
			m.perMinute, _ = strconv.Atoi(found[1])
		}
		set.methods[strings.TrimSuffix(f.Name(), ".json")] = m
	}
	return set, nil
})

func (m *methodSpec) scopes() []string {
	var out []string
	for _, s := range m.Scopes.Bot {
		out = append(out, s.Name)
	}
	return out
}
