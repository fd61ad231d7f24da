package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/bot/settings"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis"
	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

const settingsUsage = "write countersign settings export [--history], countersign settings import [--dry-run] FILE [yes] or countersign settings reset [KEY | yes]"

// settingsCommand is what the operator can do about the settings: keep them in
// a file, take them from one, and find the way back when no admin can change
// them in chat any more.
func settingsCommand(ctx context.Context, p Env, args []string) error {
	sub, args := subcommand(args)
	switch sub {
	case "export":
		return settingsExport(ctx, p, args)
	case "import":
		return settingsImport(ctx, p, args)
	case "reset":
		return settingsReset(ctx, p, args)
	}
	return errors.New(settingsUsage)
}

// settingsForm is the version of the file that export writes. A later version
// may add members, which an older one refuses by name.
const settingsForm = 1

// settingsFile is the settings in a file.
type settingsFile struct {
	Form     int             `json:"countersign_settings"` // see settingsForm
	Exported time.Time       `json:"exported"`
	Version  int64           `json:"version"`           // of the settings in the store that they came from
	Settings settingTexts    `json:"settings"`          // what was set; all else is as the program was started with
	History  []settingChange `json:"history,omitempty"` // newest first; it is not imported
}

type settingChange struct {
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Key     string    `json:"key"`
	Old     *string   `json:"old"` // null: as the program was started with
	New     *string   `json:"new"`
}

// settingTexts are settings by key. Reading them refuses a key that comes
// twice, of which one would be lost.
type settingTexts map[string]string

func (t *settingTexts) UnmarshalJSON(b []byte) error {
	*t = settingTexts{}
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New(`"settings" must be an object of settings and their values`)
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		key := token.(string) // JSON has no other keys
		var value any
		if err := d.Decode(&value); err != nil {
			return err
		}
		text, ok := value.(string)
		if !ok {
			return fmt.Errorf("the value of %q must be a text in quotes", key)
		}
		if _, twice := (*t)[key]; twice {
			return fmt.Errorf("%q is in it twice", key)
		}
		(*t)[key] = text
	}
	return nil
}

// maxHistory is how many changes are exported at most.
const maxHistory = 100_000

func settingsExport(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("settings export")
	history := flags.Bool("history", false, "with every change: who, when, old and new")
	if _, err := parse(p, flags, args, 0, "countersign settings export [--history]"); err != nil {
		return err
	}
	keep, err := openToLook(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	set, err := keep.Settings(ctx)
	if err != nil {
		return settingsError(err)
	}
	file := settingsFile{Form: settingsForm, Exported: p.Now().UTC().Truncate(time.Second), Version: set.Version, Settings: set.Values}
	if file.Settings == nil {
		file.Settings = settingTexts{}
	}
	if *history {
		changes, err := keep.Changes(ctx, maxHistory)
		if err != nil {
			return err
		}
		for _, c := range changes {
			by := c.By.Performer()
			if c.By.ID == "" {
				by = "the operator"
				if c.By.Name != "" {
					by += " (" + c.By.Name + ")"
				}
			}
			file.History = append(file.History, settingChange{c.Version, c.At, by, c.Key, c.Old, c.New})
		}
	}
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(file)
}

// readSettings reads a file that export wrote, or somebody in its form.
func readSettings(path string) (settingsFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return settingsFile{}, err
	}
	var head struct {
		Form int `json:"countersign_settings"`
	}
	if json.Unmarshal(b, &head) == nil && head.Form > settingsForm {
		return settingsFile{}, fmt.Errorf("%s was written by a newer version of countersign: import it with that version or a later one", path)
	}
	var file settingsFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return settingsFile{}, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return settingsFile{}, fmt.Errorf("%s: something stands behind the settings", path)
	}
	if file.Form < 1 || file.Settings == nil {
		return settingsFile{}, fmt.Errorf(`%s is no file of settings: it needs "countersign_settings": %d and "settings"`, path, settingsForm)
	}
	var unknown []string
	for key := range file.Settings {
		if !slices.Contains(tickets.SettingKeys(), key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return settingsFile{}, fmt.Errorf("%s: this version does not know %s: nothing was changed; take it out of the file, or import with a newer version", path, strings.Join(unknown, ", "))
	}
	return file, nil
}

// settingsImport makes the settings in the store those of a file, as one
// change, or changes nothing.
func settingsImport(ctx context.Context, p Env, args []string) (err error) {
	flags := newFlags("settings import")
	dry := flags.Bool("dry-run", false, "only say what would change")
	sure := len(args) > 1 && strings.EqualFold(args[len(args)-1], "yes")
	if sure {
		args = args[:len(args)-1]
	}
	rest, err := parse(p, flags, args, 1, "countersign settings import [--dry-run] FILE [yes]")
	if err != nil {
		return err
	}
	file, err := readSettings(rest[0])
	if err != nil {
		return err
	}
	env, findings := p.Environment()
	cfg, err := env.check(findings)
	if err != nil {
		return err
	}
	open := openSettings
	if *dry {
		open = openToLook
	}
	keep, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	set, err := keep.Settings(ctx)
	if err != nil {
		return settingsError(err)
	}
	changes, does, ask, problems := settings.PlanChanges(cfg.settings, cfg.world, set, settings.ReplaceAll(set, file.Settings))
	if len(problems) > 0 {
		return fmt.Errorf("nothing was changed:\n  %s", strings.Join(problems, "\n  "))
	}
	if ask != "" && !sure && !*dry {
		return fmt.Errorf("nothing was changed yet:\n  %s\n  If that is what you want, write yes behind the file", ask)
	}
	did := "changed"
	if *dry {
		did = "would change"
	} else if len(changes) > 0 {
		for i := range changes {
			changes[i].By, changes[i].At = operator(), p.Now().UTC().Truncate(time.Second)
		}
		if _, err := keep.Configure(ctx, set.Version, changes); err != nil {
			return err
		}
	}
	var s strings.Builder
	for _, d := range does {
		fmt.Fprintf(&s, "%s: %s → %s\n", d.Key, sayText(d.Before), sayText(d.After))
	}
	fmt.Fprintf(&s, "%s %s.\n", counted(len(does), "setting"), did)
	if ask != "" {
		fmt.Fprintln(&s, ask)
	}
	_, err = io.WriteString(p.Stdout, s.String())
	return err
}

func sayText(text string) string {
	if text == "" {
		return "empty"
	}
	return "“" + text + "”"
}

// settingsReset takes settings back: one, or after a yes all, also if they
// cannot be read. Without either it says what would change.
func settingsReset(ctx context.Context, p Env, args []string) (err error) {
	if len(args) > 1 {
		return errors.New(settingsUsage)
	}
	word := strings.ToLower(strings.Join(args, ""))
	open := openSettings
	if word == "" {
		open = openToLook
	}
	keep, err := open(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep.Close()) }()
	say, err := reset(ctx, keep, word, p.Now().UTC().Truncate(time.Second))
	if err == nil {
		_, err = io.WriteString(p.Stdout, say)
	}
	return err
}

// reset does what word wants, yes, a key or nothing, and returns what to say.
func reset(ctx context.Context, keep store.Store, word string, now time.Time) (string, error) {
	change := tickets.Change{By: operator(), At: now}
	set, err := keep.Settings(ctx)
	switch {
	case err == nil:
	case !errors.Is(err, store.ErrCorrupt):
		return "", err
	case word == "":
		return "The settings in the store cannot be read. Nothing was changed yet: countersign settings reset yes makes all as the program is started with, and keeps what stands there.\n", nil
	case word != "yes":
		return "", settingsError(err)
	default:
		if _, err := keep.ResetSettings(ctx, change); err != nil {
			return "", err
		}
		return "The settings in the store could not be read. All are as the program is started with again; countersign settings export --history prints what stood there.\n", nil
	}
	_, isSet := set.Values[word] // perhaps by a later version
	if word != "" && word != "yes" && !isSet && !slices.Contains(tickets.SettingKeys(), word) {
		return "", fmt.Errorf("there is no setting %q; there are %s", word, strings.Join(tickets.SettingKeys(), ", "))
	}
	var changes []tickets.Change
	var say strings.Builder
	for _, key := range slices.Sorted(maps.Keys(set.Values)) {
		if word != "" && word != "yes" && word != key {
			continue
		}
		old := set.Values[key]
		change.Key, change.Old = key, &old
		changes = append(changes, change)
		fmt.Fprintf(&say, "%s: %s → as the program is started with\n", key, sayText(old))
	}
	switch {
	case len(changes) == 0:
		return "0 settings changed.\n", nil
	case word == "":
		fmt.Fprintf(&say, "%s would change. Nothing was changed yet: countersign settings reset yes does it, countersign settings reset KEY for one alone.\n", counted(len(changes), "setting"))
		return say.String(), nil
	}
	if _, err := keep.Configure(ctx, set.Version, changes); err != nil {
		return "", err
	}
	fmt.Fprintf(&say, "%s changed.\n", counted(len(changes), "setting"))
	return say.String(), nil
}

// settingsError says what to do about settings that cannot be read.
func settingsError(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w: countersign settings reset yes makes the default again", err)
	}
	return err
}

// openSettings opens the store of the environment to change the settings.
func openSettings(ctx context.Context, p Env) (store.Store, error) {
	return openToChange(ctx, p, ", or change the settings in chat")
}

// openToChange opens the store of the environment to change it. A SQLite
// store that a bot uses is refused; instead is what else can be done then.
func openToChange(ctx context.Context, p Env, instead string) (store.Store, error) {
	path, url, _, err := storeOf(p)
	switch {
	case err != nil:
		return nil, err
	case url != "":
		return redis.Open(ctx, redis.Config{URL: url.Reveal(), Now: p.Now})
	}
	keep, err := sqlite.Open(ctx, sqlite.Config{Path: path})
	if errors.Is(err, sqlite.ErrLocked) {
		return nil, fmt.Errorf("a bot uses %s: stop it first%s", path, instead)
	}
	return keep, err
}

// operator is whoever runs this at the command line: no chat vouches for them.
func operator() tickets.Actor {
	if u, err := user.Current(); err == nil {
		return tickets.Actor{Name: u.Username}
	}
	return tickets.Actor{Name: os.Getenv("USER")}
}
