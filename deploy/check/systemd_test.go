package check

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exposure is what `systemd-analyze security` may make of the unit at most,
// times ten: 0 is no way out at all, 100 every way. What is left is that the
// program uses the network.
const exposure = "15"

var unitFile = filepath.Join(root, "deploy", "systemd", "countersign.service")

// unit is the unit with the program where it is here, in a folder of its own.
func unit(t testing.TB, change func([]byte) []byte) string {
	t.Helper()
	text := bytes.ReplaceAll(read(t, unitFile), []byte("/usr/local/bin/countersign"), []byte(theImage(t).binary))
	path := filepath.Join(t.TempDir(), "countersign.service")
	write(t, path, change(text))
	return path
}

func asItIs(b []byte) []byte { return b }

func TestUnit(t *testing.T) {
	need(t, "systemd-analyze")
	analyze := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", args...).CombinedOutput()
		return string(out), err
	}
	if out, err := analyze("verify", "--man=no", unit(t, asItIs)); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("verify: %v\n%s", err, out)
	}
	misspelled := func(b []byte) []byte { return bytes.Replace(b, []byte("ProtectHome="), []byte("ProtectHomes="), 1) }
	if out, _ := analyze("verify", "--man=no", unit(t, misspelled)); !strings.Contains(out, "ProtectHomes") {
		t.Errorf("verify does not find a misspelled key: %s", out)
	}
	out, err := analyze("security", "--no-pager", "--offline=true", "--threshold="+exposure, unit(t, asItIs))
	if err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
	t.Log(out[max(0, strings.LastIndex(out, "Overall")):])
	open := func(b []byte) []byte {
		return regexp.MustCompile(`(?m)^(Protect|Private|Restrict|Capab|SystemCallF).*\n`).ReplaceAll(b, nil)
	}
	if out, err := analyze("security", "--no-pager", "--offline=true", "--threshold="+exposure, unit(t, open)); err == nil {
		t.Errorf("security lets a unit pass that has next to nothing of it\n%s", out)
	}
}

// The program runs with the variables of the unit's example file, which names
// each secret as a file.
func TestUnitRuns(t *testing.T) {
	env, files := map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(COUNTERSIGN_(\w+?)(_FILE)?)=(.*)$`).FindAllStringSubmatch(string(read(t, filepath.Dir(unitFile), "countersign.env.example")), -1) {
		name, variable, isFile, value := m[1], m[2], m[3] != "", m[4]
		env[name] = value
		if isFile {
			content, known := secrets[variable]
			if !known {
				t.Errorf("%s: this test does not know that secret", name)
			}
			files[value] = content + "\n"
		}
	}
	text := string(read(t, unitFile))
	state := regexp.MustCompile(`(?m)^WorkingDirectory=(.*)$`).FindStringSubmatch(text)
	if state == nil || !strings.HasPrefix(env["COUNTERSIGN_STORE"], "sqlite:"+state[1]+"/") || !strings.Contains(text, "\nStateDirectory="+filepath.Base(state[1])+"\n") {
		t.Errorf("the store %s is not in the unit's StateDirectory", env["COUNTERSIGN_STORE"])
	}
	// The image's tree has its folder elsewhere.
	env["COUNTERSIGN_STORE"] = strings.Replace(env["COUNTERSIGN_STORE"], state[1], theImage(t).workdir, 1)
	b := newWorld(t).runs(theImage(t), env, files)
	b.decides()
	if found := b.warned(); len(found) > 0 {
		t.Errorf("it warns of %q", found)
	}
}
