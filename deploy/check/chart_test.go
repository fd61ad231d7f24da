package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	chartvalues "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	security "k8s.io/pod-security-admission/api"
	securitypolicy "k8s.io/pod-security-admission/policy"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	sigsyaml "sigs.k8s.io/yaml"
)

var chartDir = filepath.Join(root, "deploy", "helm", "countersign")

// oldest is the oldest Kubernetes that the chart says it can be used with.
const oldest = "1.30"

// exampleValues are the values in the chart's ci/, which its users may begin
// with.
func exampleValues(t testing.TB, name string) map[string]any {
	t.Helper()
	return parseValues(t, string(read(t, chartDir, "ci", name+"-values.yaml")))
}

func parseValues(t testing.TB, text string) map[string]any {
	t.Helper()
	values, err := loader.LoadValues(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// release is the name of the release in the documentation's helm install.
func release(t testing.TB) string {
	t.Helper()
	is := regexp.MustCompile(`(?m)^helm install ([a-z0-9-]+) deploy/helm/countersign `).FindSubmatch(read(t, root, "docs", "deploying.md"))
	if is == nil {
		t.Fatal("docs/deploying.md does not install the chart")
	}
	return string(is[1])
}

// template is `helm template` of a release with another name than the chart's.
func template(values map[string]any) (map[string]string, error) {
	return templateAs("bot", values)
}

// templateAs is `helm template`: the manifests by the template's file name.
func templateAs(release string, values map[string]any) (map[string]string, error) {
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	kube, err := common.ParseKubeVersion(oldest)
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *kube
	top, err := chartvalues.ToRenderValues(c, values, common.ReleaseOptions{Name: release, Namespace: "security", IsInstall: true, Revision: 1}, capabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Render(c, top)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for file, text := range rendered {
		if strings.TrimSpace(text) != "" {
			out[path.Base(file)] = text
		}
	}
	return out, nil
}

// manifests are the objects that a chart makes, read as strictly as an API
// server does: a field that does not exist is an error.
type manifests struct {
	deployment *apps.Deployment
	service    *core.Service
	ops        *core.Service // for the monitor
	policy     *networking.NetworkPolicy
	budget     *policy.PodDisruptionBudget
	ingress    *networking.Ingress
	claim      *core.PersistentVolumeClaim
	config     *core.ConfigMap
	dashboard  *core.ConfigMap
	monitor    *monitoring.ServiceMonitor
	rules      *monitoring.PrometheusRule
	route      *gateway.HTTPRoute
	account    *core.ServiceAccount
}

func decode(t testing.TB, rendered map[string]string) manifests {
	t.Helper()
	known := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(known), monitoring.AddToScheme(known), gateway.Install(known)); err != nil {
		t.Fatal(err)
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, known, known, json.SerializerOptions{Yaml: true, Strict: true})
	var m manifests
	for file, text := range rendered {
		if path.Ext(file) != ".yaml" {
			continue
		}
		docs := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(text)))
		buf := make([]byte, 1<<20)
		n, err := docs.Read(buf)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		object, _, err := strict.Decode(bytes.TrimSpace(buf[:n]), nil, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, text)
			continue
		}
		switch o := object.(type) {
		case *apps.Deployment:
			m.deployment = o
		case *core.Service:
			if strings.HasSuffix(o.Name, "-ops") {
				m.ops = o
			} else {
				m.service = o
			}
		case *networking.NetworkPolicy:
			m.policy = o
		case *policy.PodDisruptionBudget:
			m.budget = o
		case *networking.Ingress:
			m.ingress = o
		case *core.PersistentVolumeClaim:
			m.claim = o
		case *core.ConfigMap:
			if strings.HasSuffix(o.Name, "-dashboard") {
				m.dashboard = o
			} else {
				m.config = o
			}
		case *monitoring.PrometheusRule:
			m.rules = o
		case *gateway.HTTPRoute:
			m.route = o
		case *monitoring.ServiceMonitor:
			m.monitor = o
		case *core.ServiceAccount:
			m.account = o
		default:
			t.Errorf("%s: this test does not know %T", file, o)
		}
	}
	return m
}

func TestChartLint(t *testing.T) {
	kube, err := common.ParseKubeVersion(oldest)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sqlite", "redis", "openshift"} {
		result := lint.RunAll(chartDir, exampleValues(t, name), "security", lint.WithKubeVersion(kube))
		for _, m := range result.Messages {
			if m.Severity >= support.WarningSev || !strings.Contains(m.Error(), "icon is recommended") {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
	if !strings.Contains(string(read(t, chartDir, "Chart.yaml")), `kubeVersion: ">=`+oldest+`.0-0"`) {
		t.Errorf("the chart is checked with Kubernetes %s and says another", oldest)
	}
}

func TestChart(t *testing.T) {
	for name, c := range map[string]struct {
		values   map[string]any
		replicas int32
		objects  []string // files
	}{
		"SQLite": {exampleValues(t, "sqlite"), 1, []string{"NOTES.txt", "deployment.yaml", "ingress.yaml", "networkpolicy.yaml", "pvc.yaml", "service.yaml", "serviceaccount.yaml"}},
		"Redis": {exampleValues(t, "redis"), 3, []string{"NOTES.txt", "configmap.yaml", "dashboard.yaml", "deployment.yaml", "ingress.yaml", "networkpolicy.yaml", "poddisruptionbudget.yaml",
			"prometheusrule.yaml", "service-ops.yaml", "service.yaml", "serviceaccount.yaml", "servicemonitor.yaml"}},
		"OpenShift": {exampleValues(t, "openshift"), 1, []string{"NOTES.txt", "deployment.yaml", "httproute.yaml", "networkpolicy.yaml", "pvc.yaml", "service.yaml", "serviceaccount.yaml"}},
		"Least":     {parseValues(t, "secret: {name: s}"), 1, []string{"NOTES.txt", "deployment.yaml", "networkpolicy.yaml", "pvc.yaml", "service.yaml", "serviceaccount.yaml"}},
		"OneOnRedis": {parseValues(t, "{store: redis, secret: {name: s, keys: {STORE: store}}, networkPolicy: {enabled: false}, serviceAccount: {create: false}}"), 1,
			[]string{"NOTES.txt", "deployment.yaml", "service.yaml"}},
		"OwnClaim": {parseValues(t, "{secret: {name: s}, persistence: {existingClaim: mine}}"), 1,
			[]string{"NOTES.txt", "deployment.yaml", "networkpolicy.yaml", "service.yaml", "serviceaccount.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			rendered, err := template(c.values)
			if err != nil {
				t.Fatal(err)
			}
			if files := slices.Sorted(maps.Keys(rendered)); !slices.Equal(files, c.objects) {
				t.Errorf("files %v, want %v", files, c.objects)
			}
			m := decode(t, rendered)
			m.check(t)
			if got := *m.deployment.Spec.Replicas; got != c.replicas {
				t.Errorf("%d replicas, want %d", got, c.replicas)
			}
		})
	}
}

// check holds what must be true of whatever the chart makes: the pod is as
// restricted as can be, and what refers to something finds it.
func (m manifests) check(t *testing.T) {
	t.Helper()
	if m.deployment == nil || m.service == nil {
		t.Fatal("there is no deployment or no service that can be read")
	}
	pod := m.deployment.Spec.Template
	restricted, err := securitypolicy.NewEvaluator(securitypolicy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range restricted.EvaluatePod(security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !r.Allowed {
			t.Errorf("Pod Security Standard restricted: %s: %s", r.ForbiddenReason, r.ForbiddenDetail)
		}
	}
	c := pod.Spec.Containers[0]
	if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		t.Error("the root file system can be written")
	}
	if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
		t.Error("the pod gets a token for the API server")
	}
	if links := pod.Spec.EnableServiceLinks; links == nil || *links {
		t.Error("the pod is told of the services in its namespace, by variables that may begin as the program's do")
	}
	img, err := built()
	if err != nil {
		t.Fatal(err)
	}
	if s := pod.Spec.SecurityContext; s.RunAsUser == nil {
		if s.RunAsGroup != nil || s.FSGroup != nil || !*s.RunAsNonRoot {
			t.Errorf("it is to run as whoever the cluster says, and %+v", s)
		}
	} else if *s.RunAsUser != int64(img.user.Uid) || *s.RunAsGroup != int64(img.user.Gid) || *s.FSGroup != int64(img.user.Gid) {
		t.Errorf("it runs as %d:%d, the image as %d:%d", *s.RunAsUser, *s.RunAsGroup, img.user.Uid, img.user.Gid)
	}
	if slices.Contains(strings.Split(c.Image, ":"), "latest") || !strings.ContainsAny(c.Image, ":@") {
		t.Errorf("the image %s is another one tomorrow", c.Image)
	}

	finds := func(what string, selector *meta.LabelSelector) {
		s, err := meta.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() || !s.Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s does not find the pods: %v", what, err)
		}
	}
	finds("the deployment", m.deployment.Spec.Selector)
	finds("the service", meta.SetAsLabelSelector(m.service.Spec.Selector))
	for _, spread := range pod.Spec.TopologySpreadConstraints {
		finds("the spread", spread.LabelSelector)
	}
	port := func(what string, wanted intstr.IntOrString) {
		if !slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == wanted.StrVal }) {
			t.Errorf("%s wants the port %s, which the pod does not have", what, wanted.StrVal)
		}
	}
	port("the service", m.service.Spec.Ports[0].TargetPort)
	for what, probe := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if probe == nil {
			t.Errorf("there is no %s probe", what)
			continue
		}
		port(what, probe.HTTPGet.Port)
		if probe.HTTPGet.Port.StrVal != "ops" {
			t.Errorf("the %s probe asks where everybody may", what)
		}
	}
	if m.policy != nil {
		finds("the network policy", &m.policy.Spec.PodSelector)
		port("the network policy", *m.policy.Spec.Ingress[0].Ports[0].Port)
		port("the network policy for operators", *m.policy.Spec.Ingress[1].Ports[0].Port)
		if len(m.policy.Spec.PolicyTypes) != 2 {
			t.Errorf("the network policy is about %v, want both directions", m.policy.Spec.PolicyTypes)
		}
	}
	if m.budget != nil {
		finds("the disruption budget", m.budget.Spec.Selector)
	}
	if m.ingress != nil {
		for _, p := range m.ingress.Spec.Rules[0].HTTP.Paths {
			if b := p.Backend.Service; b.Name != m.service.Name || b.Port.Name != m.service.Spec.Ports[0].Name {
				t.Errorf("the ingress leads %s to %s %s, which is not the service", p.Path, b.Name, b.Port.Name)
			}
			if strings.HasPrefix("/metrics", p.Path) || strings.HasPrefix("/readyz", p.Path) {
				t.Errorf("the ingress shows the world %s", p.Path)
			}
		}
	}
	if m.monitor != nil {
		s, err := meta.LabelSelectorAsSelector(&m.monitor.Spec.Selector)
		if err != nil || m.ops == nil || !s.Matches(labels.Set(m.ops.Labels)) || s.Matches(labels.Set(m.service.Labels)) || m.monitor.Spec.Endpoints[0].Port != m.ops.Spec.Ports[0].Name {
			t.Fatalf("the monitor does not find the service for operators alone: %v", err)
		}
		finds("the service for operators", meta.SetAsLabelSelector(m.ops.Spec.Selector))
		port("the service for operators", m.ops.Spec.Ports[0].TargetPort)
		if m.ops.Spec.ClusterIP != core.ClusterIPNone {
			t.Error("the service for operators spreads what it is asked over the pods")
		}
	}
	if slices.ContainsFunc(m.service.Spec.Ports, func(p core.ServicePort) bool { return p.TargetPort.StrVal == "ops" }) {
		t.Error("the service that may be public leads to metrics")
	}
	if m.route != nil {
		for _, match := range m.route.Spec.Rules[0].Matches {
			if p := *match.Path.Value; strings.HasPrefix("/metrics", p) || strings.HasPrefix("/readyz", p) {
				t.Errorf("the route shows the world %s", p)
			}
		}
		if to := m.route.Spec.Rules[0].BackendRefs[0]; string(to.Name) != m.service.Name || int32(*to.Port) != m.service.Spec.Ports[0].Port {
			t.Errorf("the route leads to %s %d, which is not the service", to.Name, *to.Port)
		}
	}
	if m.rules != nil {
		var want monitoring.PrometheusRuleSpec
		if err := sigsyaml.UnmarshalStrict(read(t, prometheusDir, "alerts.yaml"), &want); err != nil || len(want.Groups) == 0 || !reflect.DeepEqual(m.rules.Spec, want) {
			t.Errorf("the rules are others than those of deploy/prometheus: %v", err)
		}
	}
	if m.dashboard != nil && strings.TrimSpace(m.dashboard.Data["countersign.json"]) != strings.TrimSpace(string(read(t, root, "deploy", "grafana", "countersign.json"))) {
		t.Error("the dashboard is another than that of deploy/grafana")
	}
	dirs := slices.IndexFunc(c.Env, func(e core.EnvVar) bool { return e.Name == "SSL_CERT_DIR" })
	if ca := slices.IndexFunc(c.VolumeMounts, func(v core.VolumeMount) bool { return v.Name == "ca" }); (ca >= 0) != (dirs >= 0) || ca >= 0 && !slices.Contains(strings.Split(c.Env[dirs].Value, ":"), c.VolumeMounts[ca].MountPath) {
		t.Error("the certificate authority is not where the program looks for it")
	}
	volumes := map[string]core.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, mount := range c.VolumeMounts {
		v, ok := volumes[mount.Name]
		if !ok {
			t.Errorf("there is no volume %s", mount.Name)
		}
		if v.PersistentVolumeClaim != nil && m.claim != nil && v.PersistentVolumeClaim.ClaimName != m.claim.Name {
			t.Errorf("the pod wants the claim %s, and there is %s", v.PersistentVolumeClaim.ClaimName, m.claim.Name)
		}
		if v.ConfigMap != nil && v.Name == "ticket-types" && v.ConfigMap.Name != m.config.Name {
			t.Errorf("the pod wants the config map %s, and there is %s", v.ConfigMap.Name, m.config.Name)
		}
		delete(volumes, mount.Name)
	}
	for name := range volumes {
		t.Errorf("the volume %s is not mounted", name)
	}
	if m.account != nil && m.account.Name != pod.Spec.ServiceAccountName {
		t.Errorf("the pod runs as %s, and there is the account %s", pod.Spec.ServiceAccountName, m.account.Name)
	}
	sqlite := slices.ContainsFunc(c.Env, func(e core.EnvVar) bool { return e.Name == "COUNTERSIGN_STORE" })
	if recreate := m.deployment.Spec.Strategy.Type == apps.RecreateDeploymentStrategyType; recreate != sqlite {
		t.Errorf("the strategy is %s: two processes of one SQLite file, or a pause that Redis makes needless", m.deployment.Spec.Strategy.Type)
	}
}

func TestChartRefuses(t *testing.T) {
	const secret = "secret: {name: s}\n"
	for name, c := range map[string]struct{ values, say string }{
		"SeveralOnSQLite":    {secret + "replicas: 2", "a SQLite file has one process"},
		"RedisWithoutKey":    {secret + "store: redis", "secret.keys.STORE: name the key"},
		"SQLiteWithKey":      {"secret: {name: s, keys: {STORE: store}}", "secret.keys.STORE: with store sqlite"},
		"NoSecret":           {"replicas: 1", "secret.name: name an existing Secret"},
		"IngressWithoutHost": {secret + "ingress: {enabled: true}", "ingress.host"},
		"NoReplica":          {secret + "replicas: 0", "replicas"},
		"OtherStore":         {secret + "store: postgres", "store"},
		"Misspelled":         {secret + "replica: 2", "replica"},
		"Latest":             {secret + "image: {tag: latest}", "tag"},
		"BadDigest":          {secret + "image: {digest: 'sha256:12'}", "digest"},
		"TwoAuthorities":     {secret + "caBundle: {configMap: a, secret: b}", "not both"},
		"RouteOfNoGateway":   {secret + "httpRoute: {enabled: true}", "httpRoute.parentRefs"},
		"RouteToTLS":         {secret + "tls: {secretName: t}\nhttpRoute: {enabled: true, parentRefs: [{name: g}]}", "a Gateway ends TLS"},
		"OpsListen":          {secret + "config: {OPS_LISTEN: ':1'}", "OPS_LISTEN"},
		"LowerCase":          {secret + "config: {epm_host: x}", "epm_host"},
		"RoundedIdentifier":  {secret + "config: {DISCORD_GUILD: 1100000000000000003}", "DISCORD_GUILD"},
		"ManyWriters":        {secret + "persistence: {accessModes: [ReadWriteMany]}", "accessModes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := template(parseValues(t, c.values)); err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("template = %v, want %q", err, c.say)
			}
		})
	}
}

// Each variable of the program is either in config or a file of the secret,
// or the chart sets it itself.
func TestChartTakesEachVariable(t *testing.T) {
	own := map[string]bool{"LISTEN": true, "OPS_LISTEN": true, "TLS_CERT": true, "TLS_KEY": true, "SETTINGS_TICKET_TYPES": true, "STORE": true}
	for name, secret := range variables(t) {
		_, err := template(parseValues(t, fmt.Sprintf("{secret: {name: s}, config: {%s: x}}", name)))
		if plain := !secret && !own[name]; plain != (err == nil) {
			t.Errorf("config.%s: %v", name, err)
		}
		if secret && !own[name] {
			rendered, err := template(parseValues(t, fmt.Sprintf("{secret: {name: s, keys: {%s: k}}}", name)))
			if err != nil || !strings.Contains(rendered["deployment.yaml"], "name: COUNTERSIGN_"+name+"_FILE") {
				t.Errorf("secret.keys.%s: %v", name, err)
			}
		}
	}
}

// serviceVariables are what Kubernetes tells of a service.
func serviceVariables(s *core.Service) map[string]string {
	const host = "10.96.12.34"
	name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
	port := fmt.Sprint(s.Spec.Ports[0].Port)
	at := name + "_PORT_" + port + "_TCP"
	return map[string]string{
		name + "_SERVICE_HOST": host, name + "_SERVICE_PORT": port, name + "_SERVICE_PORT_" + strings.ToUpper(s.Spec.Ports[0].Name): port,
		name + "_PORT": "tcp://" + host + ":" + port, at: "tcp://" + host + ":" + port, at + "_PROTO": "tcp", at + "_PORT": port, at + "_ADDR": host,
	}
}

// The program of the image runs with the environment and the files that the
// chart gives it, and answers its probes and its ingress. Its release has the
// name that the documentation gives it, and Kubernetes tells it of its own
// service, as it does where somebody else wrote the manifests.
func TestChartRuns(t *testing.T) {
	values := exampleValues(t, "sqlite")
	values["ticketTypes"] = []any{map[string]any{"name": "Emergency Access", "prefix": "EMG", "states": []any{"New", "Done"}, "active": []any{"New"}, "closed": "Done"}}
	values["config"].(map[string]any)["SETTINGS_TICKET_TYPE"] = "Emergency Access"
	values["tls"] = map[string]any{"secretName": "tls"}
	rendered, err := templateAs(release(t), values)
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, rendered)
	c := m.deployment.Spec.Template.Spec.Containers[0]
	env, files := serviceVariables(m.service), map[string]string{}
	if env["COUNTERSIGN_PORT"] == "" {
		t.Fatalf("Kubernetes' variables do not begin as the program's do: %v", env)
	}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	variable := regexp.MustCompile(`^COUNTERSIGN_(\w+)_FILE$`)
	for _, mount := range c.VolumeMounts {
		for name, file := range env {
			if path.Dir(file) != mount.MountPath {
				continue
			}
			switch is := variable.FindStringSubmatch(name); {
			case is != nil:
				files[file] = secrets[is[1]]
			case name == "COUNTERSIGN_TLS_CERT":
				files[file] = string(tlsCert)
			case name == "COUNTERSIGN_TLS_KEY":
				files[file] = string(tlsKey)
			case name == "COUNTERSIGN_SETTINGS_TICKET_TYPES":
				files[file] = m.config.Data[path.Base(file)]
			}
		}
	}
	img := theImage(t)
	if !slices.Equal(c.Args, img.cmd) || len(c.Command) > 0 {
		t.Errorf("the container runs %v %v, the image %v", c.Command, c.Args, img.cmd)
	}
	b := newWorld(t).runs(img, env, files)
	b.decides()
	b.healthy(img.health)
	if cards := b.slack.Messages(slackChannel); !strings.Contains(cards[0].Text, "EMG-") {
		t.Errorf("the ticket is of another type: %s", cards[0].Text)
	}
	for _, probe := range []*core.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
		if code := b.opsSays(probe.HTTPGet.Path); code != 200 || probe.HTTPGet.Scheme != "" {
			t.Errorf("the probe %s %s = %d", probe.HTTPGet.Scheme, probe.HTTPGet.Path, code)
		}
	}
	if code := b.says("/metrics"); code != 404 {
		t.Errorf("/metrics = %d where everybody may ask", code)
	}
	discord := false
	for _, p := range m.ingress.Spec.Rules[0].HTTP.Paths {
		where := p.Path
		if *p.PathType == networking.PathTypePrefix {
			where += "EMG-1001"
		}
		// Only where a chat is not configured, or speaks by a socket, is there
		// nothing.
		elsewhere := strings.HasPrefix(where, "/slack/") || strings.HasPrefix(where, "/discord/")
		discord = discord || strings.HasPrefix(where, "/discord/")
		if code := b.says(where); code == 0 || (code == 404) != elsewhere {
			t.Errorf("%s, which the ingress lets through, = %d", where, code)
		}
	}
	if !discord {
		t.Error("the ingress does not let Discord through")
	}
}
