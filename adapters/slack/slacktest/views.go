package slacktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// View is a modal or a home tab as its person sees it.
type View struct {
	ID              string
	Type            string // "modal" or "home"
	Hash            string
	CallbackID      string
	ExternalID      string
	PrivateMetadata string
	Title           string
	Blocks          json.RawMessage
	Raw             json.RawMessage   // all of it with what was typed, as payloads carry it
	Typed           map[string]string // what the inputs hold now, by block id
	Errors          map[string]string // what the last submission was refused with, by block id
}

const maxStack = 3

// view is an open modal or a published home tab.
type view struct {
	id, hash string
	user     string
	raw      map[string]any
	typed    map[string]map[string]any // state of the inputs, by inputKey
	errors   map[string]string
	root     string
	previous string
}

// desk is what one person has on the screen besides the channels.
type desk struct {
	stack []*view // modals, the visible one last
	home  *view
}

type trigger struct {
	user  string
	at    time.Time
	used  bool
	modal bool // came from inside a modal
}

func inputKey(block, action string) string { return block + "\x00" + action }

func (s *Server) desk(user string) *desk {
	d := s.desks[user]
	if d == nil {
		d = &desk{}
		s.desks[user] = d
	}
	return d
}

func (s *Server) newTrigger(user string, modal bool) string {
	s.seq++
	if len(s.triggers) > s.cfg.CallLog { // a demo runs for days
		maps.DeleteFunc(s.triggers, func(_ string, t *trigger) bool { return s.cfg.Now().Sub(t.at) > time.Hour })
		maps.DeleteFunc(s.replies, func(_ string, r *responseURL) bool { return s.cfg.Now().Sub(r.at) > 2*s.cfg.ResponseURLLife })
	}
	id := fmt.Sprintf("%d.%d.%s", s.cfg.Now().UnixMilli(), s.seq, nonce())
	s.triggers[id] = &trigger{user: user, at: s.cfg.Now(), modal: modal}
	return id
}

// useTrigger spends a trigger_id: it lives 3 seconds and works once
// (docs.slack.dev/interactivity/handling-user-interaction).
func (s *Server) useTrigger(a args) (*trigger, *reply) {
	refuse := func(name string, details ...string) (*trigger, *reply) {
		r := fail(name, details...)
		return nil, &r
	}
	if !a.given("trigger_id") {
		return refuse("invalid_arguments", "[ERROR] missing required field: trigger_id")
	}
	t := s.triggers[a["trigger_id"]]
	switch {
	case t == nil:
		return refuse("invalid_trigger_id")
	case t.used:
		return refuse("exchanged_trigger_id")
	case s.cfg.Now().Sub(t.at) > s.cfg.TriggerLife:
		return refuse("expired_trigger_id")
	}
	return t, nil
}

// readView validates the view argument and gives ids to what has none.
func (s *Server) readView(raw []byte) (map[string]any, *reply) {
	if len(raw) > maxViewBytes {
		r := fail("view_too_large")
		return nil, &r
	}
	v, problems := checkView(raw)
	if len(problems) > 0 {
		r := fail("invalid_arguments", problems...)
		return nil, &r
	}
	(&checked{blocks: blocksOf(v)}).fill(s)
	return v, nil
}

func (s *Server) newHash() string {
	return fmt.Sprintf("%d.%s", s.cfg.Now().Unix(), nonce()[:8])
}

func (s *Server) newView(user string, raw map[string]any) *view {
	v := &view{id: s.id("V"), hash: s.newHash(), user: user, raw: raw, typed: map[string]map[string]any{}}
	v.root = v.id
	if x := text(raw, "external_id"); x != "" {
		s.external[x] = v
	}
	v.setInitial(nil)
	return v
}

// setInitial fills the inputs of a new or changed view. What was typed stays
// where block_id and action_id are unchanged
// (docs.slack.dev/surfaces/modals, "updating views").
func (v *view) setInitial(old map[string]map[string]any) {
	v.typed = map[string]map[string]any{}
	for _, b := range blocksOf(v.raw) {
		for _, e := range interactive(b) {
			kind := text(e, "type")
			if kind == "button" || kind == "overflow" {
				continue
			}
			key := inputKey(text(b, "block_id"), text(e, "action_id"))
			if was := old[key]; was != nil && was["type"] == kind {
				v.typed[key] = was
				continue
			}
			v.typed[key] = initialState(e)
		}
	}
}

// initialState is the entry of state.values for an untouched element.
func initialState(e map[string]any) map[string]any {
	kind := text(e, "type")
	first := func(to, from string) map[string]any { return map[string]any{"type": kind, to: e[from]} }
	list := func(to, from string) map[string]any {
		if e[from] == nil {
			return map[string]any{"type": kind, to: []any{}}
		}
		return first(to, from)
	}
	switch kind {
	case "radio_buttons", "static_select", "external_select":
		return first("selected_option", "initial_option")
	case "checkboxes", "multi_static_select":
		return list("selected_options", "initial_options")
	case "users_select":
		return first("selected_user", "initial_user")
	case "multi_users_select":
		return list("selected_users", "initial_users")
	case "channels_select":
		return first("selected_channel", "initial_channel")
	case "multi_channels_select":
		return list("selected_channels", "initial_channels")
	case "conversations_select":
		return first("selected_conversation", "initial_conversation")
	case "multi_conversations_select":
		return list("selected_conversations", "initial_conversations")
	case "datepicker":
		return first("selected_date", "initial_date")
	case "timepicker":
		return first("selected_time", "initial_time")
	case "datetimepicker":
		return first("selected_date_time", "initial_date_time")
	}
	return first("value", "initial_value")
}

// state is the view's state.values.
func (v *view) state() map[string]any {
	values := map[string]any{}
	for _, b := range blocksOf(v.raw) {
		for _, e := range interactive(b) {
			if st := v.typed[inputKey(text(b, "block_id"), text(e, "action_id"))]; st != nil {
				in, _ := values[text(b, "block_id")].(map[string]any)
				if in == nil {
					in = map[string]any{}
				}
				in[text(e, "action_id")] = st
				values[text(b, "block_id")] = in
			}
		}
	}
	return map[string]any{"values": values}
}

// wire is the view as answers and payloads show it.
func (s *Server) wireView(v *view) map[string]any {
	w := map[string]any{
		"id": v.id, "team_id": s.cfg.TeamID, "app_id": s.cfg.AppID, "bot_id": BotID, "app_installed_team_id": s.cfg.TeamID,
		"hash": v.hash, "root_view_id": v.root, "previous_view_id": nil, "state": v.state(),
		"private_metadata": "", "callback_id": "", "external_id": "", "title": nil, "close": nil, "submit": nil,
		"clear_on_close": false, "notify_on_close": false,
	}
	if v.previous != "" {
		w["previous_view_id"] = v.previous
	}
	for k, x := range v.raw {
		w[k] = x
	}
	return w
}

func (s *Server) show(v *view) *View {
	out := &View{ID: v.id, Type: text(v.raw, "type"), Hash: v.hash, CallbackID: text(v.raw, "callback_id"),
		ExternalID: text(v.raw, "external_id"), PrivateMetadata: text(v.raw, "private_metadata"),
		Blocks: marshal(v.raw["blocks"]), Raw: marshal(s.wireView(v)), Typed: map[string]string{}, Errors: v.errors}
	if t, ok := v.raw["title"].(map[string]any); ok {
		out.Title = text(t, "text")
	}
	for _, b := range blocksOf(v.raw) {
		for _, e := range interactive(b) {
			if st := v.typed[inputKey(text(b, "block_id"), text(e, "action_id"))]; st != nil {
				out.Typed[text(b, "block_id")] = plain(st)
			}
		}
	}
	return out
}

func (s *Server) takenID(raw map[string]any, by *view) bool {
	was := s.external[text(raw, "external_id")]
	return text(raw, "external_id") != "" && was != nil && was != by && s.visible(was)
}

// visible reports whether a view is still on somebody's screen.
func (s *Server) visible(v *view) bool {
	d := s.desk(v.user)
	return d.home == v || slices.Contains(d.stack, v)
}

func (s *Server) openView(a args, push bool) reply {
	raw, bad := s.readView([]byte(a["view"]))
	if bad != nil {
		return *bad
	}
	if text(raw, "type") != "modal" {
		return fail("invalid_arguments", pointer("must be one of the following values: modal", "/view/type"))
	}
	t, bad := s.useTrigger(a)
	if bad != nil {
		return *bad
	}
	if s.takenID(raw, nil) {
		return fail("duplicate_external_id")
	}
	d := s.desk(t.user)
	if push && (!t.modal || len(d.stack) == 0) {
		return fail("invalid_trigger_id") // a view is pushed from inside a modal only
	}
	if push && len(d.stack) >= maxStack {
		return fail("push_limit_reached")
	}
	t.used = true
	v := s.newView(t.user, raw)
	if !push {
		d.stack = nil
	}
	s.pushOn(d, v)
	return reply{body: map[string]any{"view": s.wireView(v)}}
}

func (s *Server) pushOn(d *desk, v *view) {
	if n := len(d.stack); n > 0 {
		v.root, v.previous = d.stack[0].id, d.stack[n-1].id
	}
	d.stack = append(d.stack, v)
	s.changed()
}

func (s *Server) viewsOpen(a args, _ *token) reply { return s.openView(a, false) }

func (s *Server) viewsPush(a args, _ *token) reply { return s.openView(a, true) }

func (s *Server) viewsUpdate(a args, _ *token) reply {
	raw, bad := s.readView([]byte(a["view"]))
	if bad != nil {
		return *bad
	}
	if !a.given("view_id") && !a.given("external_id") {
		return fail("invalid_arguments", "[ERROR] one of view_id and external_id is required")
	}
	var v *view
	if a.given("view_id") {
		v = s.findView(a["view_id"])
	} else {
		v = s.external[a["external_id"]]
	}
	if v == nil || !s.visible(v) {
		return fail("not_found")
	}
	if text(raw, "type") != text(v.raw, "type") {
		return fail("invalid_arguments", pointer("type of a view cannot change", "/view/type"))
	}
	if a.given("hash") && a["hash"] != v.hash {
		return fail("hash_conflict")
	}
	if s.takenID(raw, v) {
		return fail("duplicate_external_id")
	}
	s.replaceView(v, raw)
	return reply{body: map[string]any{"view": s.wireView(v)}}
}

func (s *Server) replaceView(v *view, raw map[string]any) {
	delete(s.external, text(v.raw, "external_id"))
	if x := text(raw, "external_id"); x != "" {
		s.external[x] = v
	}
	v.raw, v.hash, v.errors = raw, s.newHash(), nil
	v.setInitial(v.typed)
	s.changed()
}

func (s *Server) findView(id string) *view {
	for _, d := range s.desks {
		for _, v := range d.stack {
			if v.id == id {
				return v
			}
		}
		if d.home != nil && d.home.id == id {
			return d.home
		}
	}
	return nil
}

func (s *Server) viewsPublish(a args, _ *token) reply {
	raw, bad := s.readView([]byte(a["view"]))
	if bad != nil {
		return *bad
	}
	if text(raw, "type") != "home" {
		return fail("invalid_arguments", pointer("must be one of the following values: home", "/view/type"))
	}
	if s.users[a["user_id"]] == nil {
		return fail("invalid_arguments", "[ERROR] invalid user_id")
	}
	d := s.desk(a["user_id"])
	if a.given("hash") && (d.home == nil || a["hash"] != d.home.hash) {
		return fail("hash_conflict")
	}
	if s.takenID(raw, d.home) {
		return fail("duplicate_external_id")
	}
	if d.home == nil {
		d.home = s.newView(a["user_id"], raw)
	} else {
		s.replaceView(d.home, raw)
	}
	s.changed()
	return reply{body: map[string]any{"view": s.wireView(d.home)}}
}
