package check

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// offline answers for every base image that it has nothing of its own: there
// is no registry here.
type offline struct{}

func (offline) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"os":"linux","architecture":"amd64","config":{}}`), nil
}

var _ llb.ImageMetaResolver = offline{}

// The rules are those of `docker build --check`, the experimental ones
// included.
func TestDockerfileLint(t *testing.T) {
	if found := lintDockerfile(t, read(t, root, "Dockerfile")); len(found) > 0 {
		t.Errorf("Dockerfile:\n%s", strings.Join(found, "\n"))
	}
	// The linter does find something.
	for name, c := range map[string]struct{ was, is, rule string }{
		"Shell":       {`CMD ["serve"]`, `CMD serve`, "JSONArgsRecommended"},
		"Case":        {"FROM scratch", "from scratch", "ConsistentInstructionCasing"},
		"Undefined":   {"${GO_IMAGE}", "${GOLANG}", "UndefinedArgInFrom"},
		"SecretInEnv": {"WORKDIR /data", "ENV SLACK_TOKEN=x\nWORKDIR /data", "SecretsUsedInArgOrEnv"},
		"Relative":    {"WORKDIR /data", "WORKDIR data", "WorkdirRelativePath"},
	} {
		t.Run(name, func(t *testing.T) {
			text := bytes.Replace(read(t, root, "Dockerfile"), []byte(c.was), []byte(c.is), 1)
			if found := strings.Join(lintDockerfile(t, text), "\n"); !strings.Contains(found, c.rule) {
				t.Errorf("found %q, want %s", found, c.rule)
			}
		})
	}
}

func lintDockerfile(t *testing.T, text []byte) []string {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", text)
	source.Definition = &llb.Definition{} // where a builder would have it from
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{
			BuildPlatforms: []ocispecs.Platform{{OS: "linux", Architecture: "amd64"}},
			LinterConfig:   &linter.Config{ExperimentalAll: true},
		},
		MetaResolver: offline{}, SourceMap: source,
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	if results.Error != nil {
		list = append(list, results.Error.Message)
	}
	for _, w := range results.Warnings {
		list = append(list, fmt.Sprintf("%v %s: %s", lines(w.Location), w.RuleName, w.Detail))
	}
	return list
}

func lines(location *pb.Location) []int32 {
	var list []int32
	for _, r := range location.GetRanges() {
		list = append(list, r.GetStart().GetLine())
	}
	return list
}

// image is what the Dockerfile says, built without a container engine: its
// RUN that compiles is run here, and the last stage's instructions are
// followed one by one.
type image struct {
	binary     string
	copies     []instructions.CopyCommand
	env        map[string]string
	user       *syscall.Credential
	workdir    string
	volumes    []string
	entrypoint []string
	cmd        []string
	health     []string
	bases      []string // what the stages are built from
}

// built is the image, made once for all tests.
var built = sync.OnceValues(func() (*image, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("the image is for Linux")
	}
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, err
	}
	defaults := map[string]string{}
	for _, a := range args {
		for _, one := range a.Args {
			defaults[one.Key] = one.ValueString()
		}
	}
	img := &image{env: map[string]string{}}
	for _, s := range stages {
		img.bases = append(img.bases, os.Expand(s.BaseName, func(name string) string { return defaults[name] }))
	}
	dir := filepath.Join(work, "out")
	for _, c := range stages[0].Commands {
		run, ok := c.(*instructions.RunCommand)
		if !ok || !strings.Contains(run.CmdLine[0], "go build") {
			continue
		}
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(run.CmdLine[0], "/out/", dir+"/"))
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "VERSION="+testVersion, "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", run.CmdLine[0], err, out)
		}
		img.binary = filepath.Join(dir, "countersign")
	}
	if img.binary == "" {
		return nil, fmt.Errorf("the first stage of the Dockerfile has no RUN with go build")
	}
	for _, c := range stages[len(stages)-1].Commands {
		if err := img.apply(c); err != nil {
			return nil, err
		}
	}
	return img, nil
})

func (img *image) apply(c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.CopyCommand:
		img.copies = append(img.copies, *c)
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			img.env[kv.Key] = kv.Value
		}
	case *instructions.UserCommand:
		uid, gid, err := ids(c.User)
		if err != nil {
			return err
		}
		img.user = &syscall.Credential{Uid: uid, Gid: gid}
	case *instructions.WorkdirCommand:
		img.workdir = c.Path
	case *instructions.VolumeCommand:
		img.volumes = append(img.volumes, c.Volumes...)
	case *instructions.EntrypointCommand:
		if c.PrependShell {
			return fmt.Errorf("ENTRYPOINT wants a shell")
		}
		img.entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		if c.PrependShell {
			return fmt.Errorf("CMD wants a shell")
		}
		img.cmd = c.CmdLine
	case *instructions.HealthCheckCommand:
		if c.Health.Test[0] != "CMD" {
			return fmt.Errorf("HEALTHCHECK wants a shell")
		}
		img.health = c.Health.Test[1:]
	case *instructions.ExposeCommand, *instructions.LabelCommand:
	default:
		return fmt.Errorf("this test does not know %s", c.Name())
	}
	return nil
}

// ids reads UID:GID.
func ids(user string) (uid, gid uint32, err error) {
	u, g, _ := strings.Cut(user, ":")
	a, err := strconv.ParseUint(u, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("USER %s: a number is needed, as there is no /etc/passwd: %w", user, err)
	}
	b, err := strconv.ParseUint(g, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("USER %s: %w", user, err)
	}
	return uint32(a), uint32(b), nil
}

// tree makes the image's file tree. As on a read-only file system its user
// can write only where COPY gives it something.
func (img *image) tree(t testing.TB) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "rootfs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from := map[string]string{"/out/countersign": img.binary, "/etc/ssl/certs/ca-certificates.crt": "", "/out/data": "",
		"/src/LICENSE": filepath.Join(root, "LICENSE"), "/src/THIRD_PARTY_NOTICES.txt": filepath.Join(root, "THIRD_PARTY_NOTICES.txt")}
	for _, c := range img.copies {
		source := c.SourcePaths[0]
		local, known := from[source]
		if !known {
			t.Fatalf("COPY %s: this test does not know where that comes from", source)
		}
		target := filepath.Join(dir, c.DestPath)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case local != "":
			var b []byte
			if b, err = os.ReadFile(local); err == nil {
				err = os.WriteFile(target, b, 0o755)
			}
		case filepath.Ext(source) == "":
			err = os.Mkdir(target, 0o755)
		default: // the certificates: every peer here is on the loopback interface
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.Chown != "" && os.Getuid() == 0 {
			uid, gid, err := ids(c.Chown)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(target, int(uid), int(gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func theImage(t testing.TB) *image {
	t.Helper()
	img, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// A tag that says a patch release, or a digest: nothing that is something
// else tomorrow.
var pinned = regexp.MustCompile(`^\S+:\d+\.\d+\.\d+-\w+(@sha256:[0-9a-f]{64})?$`)

func TestImage(t *testing.T) {
	img := theImage(t)
	if base := img.bases[len(img.bases)-1]; base != "scratch" {
		t.Errorf("the image is built on %s, want scratch: no shell and nothing to keep up to date", base)
	}
	for _, base := range img.bases[:len(img.bases)-1] {
		if !pinned.MatchString(base) {
			t.Errorf("the base image %s is not pinned to a patch release", base)
		}
	}
	if img.user == nil || img.user.Uid == 0 || img.user.Gid == 0 {
		t.Errorf("the image runs as %v, want a number that is not root's", img.user)
	}
	if len(img.env) > 0 {
		t.Errorf("the image sets %v: a variable could not be given as a file any more", img.env)
	}
	if len(img.volumes) != 1 || img.volumes[0] != img.workdir {
		t.Errorf("the volumes are %v, want the working directory %s", img.volumes, img.workdir)
	}
}

// With nothing but the variables that it cannot do without, the image runs as
// it is, keeps its data in its volume, and can be asked for its health.
func TestImageRuns(t *testing.T) {
	w := newWorld(t)
	b := w.runs(theImage(t), map[string]string{
		"COUNTERSIGN_WEBHOOK_USER": "epm", "COUNTERSIGN_WEBHOOK_PASSWORD": secrets["WEBHOOK_PASSWORD"],
		"COUNTERSIGN_EPM_CLIENT_ID": "client", "COUNTERSIGN_EPM_CLIENT_SECRET": secrets["EPM_CLIENT_SECRET"],
		"COUNTERSIGN_SLACK_BOT_TOKEN": secrets["SLACK_BOT_TOKEN"], "COUNTERSIGN_SLACK_APP_TOKEN": secrets["SLACK_APP_TOKEN"],
		"COUNTERSIGN_SLACK_CHANNEL": slackChannel, "COUNTERSIGN_APPROVERS": "slack:" + slackPerson, "COUNTERSIGN_ADMINS": "slack:" + slackPerson,
	}, nil)
	b.decides()
	b.healthy(theImage(t).health)
	if found := b.warned(); len(found) > 0 {
		t.Errorf("it warns of %q", found)
	}
	if _, err := os.Stat(filepath.Join(b.dir, b.image.workdir, "countersign.db")); err != nil {
		t.Errorf("the data is not in the volume: %v", err)
	}
	// It could not have written elsewhere.
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inside := strings.TrimPrefix(path, b.dir)
		if owner := info.Sys().(*syscall.Stat_t).Uid; owner == b.image.user.Uid && !strings.HasPrefix(inside, b.image.workdir) {
			t.Errorf("%s belongs to the image's user", inside)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
