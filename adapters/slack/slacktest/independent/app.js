// A small app on Slack's own SDKs, driven by independent_test.go. It posts,
// updates, opens a form on a click and checks what is submitted, over signed
// HTTP (MODE=http) or Socket Mode (MODE=socket). Each thing that worked prints
// a line "OK name"; READY says that a person may click.
'use strict';
const assert = require('node:assert');
const { App, HTTPReceiver, LogLevel } = require('@slack/bolt');
const { WebClient } = require('@slack/web-api');
const { SocketModeClient } = require('@slack/socket-mode');

const { MODE, API_URL, BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, CHANNEL } = process.env;
const ok = (name) => console.log('OK ' + name);
const clientOptions = { slackApiUrl: API_URL, retryConfig: { retries: 0 } };
const receiver = MODE === 'http' ? new HTTPReceiver({ signingSecret: SIGNING_SECRET, logLevel: LogLevel.WARN }) : undefined;
const app = new App({
  token: BOT_TOKEN, receiver, clientOptions, logLevel: LogLevel.WARN,
  ...(MODE === 'socket' ? { socketMode: true, appToken: APP_TOKEN } : {}),
});

const text = (t) => ({ type: 'plain_text', text: t });
const form = {
  type: 'modal', callback_id: 'approve', private_metadata: 'JIT-1042', title: text('Approve JIT-1042'), submit: text('Approve'),
  blocks: [
    { type: 'input', block_id: 'reason', label: text('Reason'), element: { type: 'plain_text_input', action_id: 'reason' } },
    { type: 'input', block_id: 'amount', optional: true, label: text('How many'),
      element: { type: 'number_input', action_id: 'amount', is_decimal_allowed: false, min_value: '1', max_value: '1440' } },
  ],
};

const button = (id, value) => ({ type: 'button', action_id: id, value, text: text(id) });
const home = (says) => ({ type: 'home', blocks: [
  { type: 'section', text: text(says) },
  { type: 'actions', block_id: 'one', elements: [button('deny', 'JIT-1042')] },
  { type: 'actions', block_id: 'two', elements: [button('deny', 'JIT-1043')] },
] });

app.action('approve', async ({ ack, body, client, action, respond }) => {
  await ack();
  assert.strictEqual(action.value, 'JIT-1042');
  assert.strictEqual(body.message.blocks[0].elements[0].action_id, 'approve');
  const opened = await client.views.open({ trigger_id: body.trigger_id, view: form });
  assert.strictEqual(opened.view.callback_id, 'approve');
  await respond({ response_type: 'ephemeral', replace_original: false, text: 'form opened' });
  ok('click');
});
app.action('state', async ({ ack, body, action, respond }) => {
  await ack();
  assert.strictEqual(action.type, 'static_select');
  assert.strictEqual(action.selected_option.value, 'JIT-1042 On Hold');
  assert.deepStrictEqual(body.state.values['act:1'].state.selected_option, action.selected_option);
  await respond({ response_type: 'ephemeral', replace_original: false, text: 'moved' });
  ok('menu');
});
app.action('deny', async ({ ack, body, client, action }) => {
  await ack();
  assert.strictEqual(body.view.type, 'home');
  assert.strictEqual(body.container.view_id, body.view.id);
  assert.strictEqual(action.value, 'JIT-1043');
  const stale = client.views.publish({ user_id: body.user.id, hash: '1.old', view: home('late') });
  await assert.rejects(stale, /hash_conflict/);
  await client.views.publish({ user_id: body.user.id, hash: body.view.hash, view: home('decided') });
  await client.views.open({ trigger_id: body.trigger_id, view: form });
  ok('home click');
});
app.view('approve', async ({ ack, view, body }) => {
  const { reason, amount } = view.state.values;
  if (amount.amount.value === '3') {
    await ack({ response_action: 'errors', errors: { amount: 'Enter a number between 5 and 1440' } });
    ok('errors');
    return;
  }
  assert.strictEqual(reason.reason.value, 'fine');
  assert.strictEqual(amount.amount.value, null);
  assert.strictEqual(body.view.private_metadata, 'JIT-1042');
  await ack();
  ok('submit');
});
app.command('/epm', async ({ ack, command }) => {
  await ack({ response_type: 'ephemeral', text: 'you said ' + command.text });
  ok('command');
});
app.event('app_home_opened', async ({ event, client }) => {
  await client.views.publish({ user_id: event.user, view: home('home') });
  ok('home');
});
app.error(async (e) => { console.log('ERROR ' + (e.stack || e)); });

(async () => {
  const web = new WebClient(BOT_TOKEN, clientOptions);
  await web.auth.test();
  const meta = { event_type: 'countersign_ticket', event_payload: { ticket: 'JIT-1042' } };
  const menu = { type: 'static_select', action_id: 'state', placeholder: text('State: New'), options: [{ text: text('On Hold'), value: 'JIT-1042 On Hold' }] };
  const blocks = [{ type: 'actions', block_id: 'act:1', elements: [button('approve', 'JIT-1042'), menu] }];
  const posted = await web.chat.postMessage({ channel: CHANNEL, text: 'posted', blocks, metadata: meta });
  assert.match(posted.ts, /^\d+\.\d{6}$/);
  ok('post');
  await web.chat.update({ channel: posted.channel, ts: posted.ts, text: 'updated', blocks });
  ok('update');
  const history = await web.conversations.history({ channel: CHANNEL, include_all_metadata: true, oldest: posted.ts, inclusive: true });
  assert.deepStrictEqual(history.messages[0].metadata, meta);
  assert.strictEqual(history.messages[0].text, 'updated');
  ok('history');
  await assert.rejects(web.chat.postMessage({ channel: CHANNEL, text: 'x', blocks: [{ type: 'section', text: text('x'.repeat(3001)) }] }), /invalid_blocks/);
  await assert.rejects(web.chat.postMessage({ channel: 'C999', text: 'x' }), /channel_not_found/);
  await assert.rejects(web.views.open({ trigger_id: '1.2.abc', view: form }), /invalid_trigger_id/);
  ok('errors of the API');
  if (MODE === 'socket') { // the socket client alone, before Bolt's
    const socket = new SocketModeClient({ appToken: APP_TOKEN, clientOptions, logLevel: LogLevel.WARN });
    await socket.start();
    await socket.disconnect();
    ok('socket client');
  }
  const server = await app.start(0);
  console.log('READY ' + (MODE === 'http' ? server.address().port : 0));
})().catch((e) => { console.log('ERROR ' + (e.stack || e)); process.exit(1); });
process.stdin.resume().on('end', () => process.exit(0));
