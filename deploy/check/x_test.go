package check

import (
	_ "helm.sh/helm/v4/pkg/chart/v2/loader"
	_ "helm.sh/helm/v4/pkg/chart/v2/lint"
	_ "helm.sh/helm/v4/pkg/engine"
	_ "github.com/prometheus/prometheus/promql/parser"
	_ "github.com/compose-spec/compose-go/v2/loader"
	_ "github.com/moby/buildkit/frontend/dockerfile/linter"
	_ "github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	_ "k8s.io/client-go/kubernetes/scheme"
	_ "github.com/goreleaser/goreleaser/v2/pkg/config"
	_ "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	_ "github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "github.com/countersign/countersign/epm/epmtest"
	_ "github.com/countersign/countersign/adapters/slack/slacktest"
	_ "github.com/countersign/countersign/adapters/discord/discordtest"
	_ "github.com/countersign/countersign/store/redis/redistest"
)
