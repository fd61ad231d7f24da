// A small bot on discord.js, driven by independent_test.go. It registers a
// command, posts a card with a button and edits it, opens a form on a click,
// answers what is submitted and answers commands, over the gateway, with the
// guild in its cache (INTENTS=guilds) or without. Each thing that worked prints
// a line "OK name"; READY says that a person may click.
'use strict';
const assert = require('node:assert');
const {
  ActionRowBuilder, ButtonBuilder, ButtonStyle, Client, ContainerBuilder, Events, GatewayIntentBits, LabelBuilder, MessageFlags, ModalBuilder,
  RadioGroupBuilder, SlashCommandBuilder, StringSelectMenuBuilder, TextDisplayBuilder, TextInputBuilder, TextInputStyle,
} = require('discord.js');

const { API_URL, BOT_TOKEN, GUILD, CHANNEL, BOT_USER, PERSON, INTENTS } = process.env;
const ok = (name) => console.log('OK ' + name);
const intents = INTENTS === 'guilds' ? [GatewayIntentBits.Guilds] : [];
const client = new Client({ intents, allowedMentions: { parse: [] }, rest: { api: API_URL + '/api', version: '10', retries: 1 } });

const command = new SlashCommandBuilder().setName('epm').setDescription('Privileged access').setDefaultMemberPermissions(0)
  .addSubcommand((c) => c.setName('status').setDescription('State of the bot'))
  .addSubcommand((c) => c.setName('ticket').setDescription('One ticket')
    .addStringOption((o) => o.setName('number').setDescription('Its number').setRequired(true).setAutocomplete(true)));

const card = (text) => ({
  flags: MessageFlags.IsComponentsV2,
  components: [new ContainerBuilder().setAccentColor(0xffcc00)
    .addTextDisplayComponents(new TextDisplayBuilder().setContent(text))
    .addActionRowComponents(new ActionRowBuilder().addComponents(
      new ButtonBuilder().setCustomId('approve:JIT-1042').setLabel('Approve').setStyle(ButtonStyle.Success),
      new ButtonBuilder().setCustomId('details:JIT-1042').setLabel('Details').setStyle(ButtonStyle.Secondary)))
    .addActionRowComponents(new ActionRowBuilder().addComponents(
      new StringSelectMenuBuilder().setCustomId('state:JIT-1042').setPlaceholder('State: New').addOptions({ label: 'On Hold', value: 'On Hold' })))],
});

const form = new ModalBuilder().setCustomId('approve:JIT-1042').setTitle('Approve JIT-1042').addLabelComponents(
  new LabelBuilder().setLabel('Reason').setTextInputComponent(
    new TextInputBuilder().setCustomId('reason').setStyle(TextInputStyle.Paragraph).setMaxLength(1000).setRequired(true)),
  new LabelBuilder().setLabel('Duration').setRadioGroupComponent(
    new RadioGroupBuilder().setCustomId('unit').addOptions({ label: 'Once', value: 'once', default: true }, { label: 'Minutes', value: 'minutes' })),
  new LabelBuilder().setLabel('Where').setStringSelectMenuComponent(
    new StringSelectMenuBuilder().setCustomId('where').setRequired(false).addOptions({ label: 'Here', value: 'here' }, { label: 'There', value: 'there' })),
  new LabelBuilder().setLabel('Amount').setDescription('5 to 1440').setTextInputComponent(
    new TextInputBuilder().setCustomId('amount').setStyle(TextInputStyle.Short).setMaxLength(4).setRequired(false)));

const handlers = {
  async click(i) {
    assert.strictEqual(i.guildId, GUILD);
    assert.strictEqual(i.message.author.id, BOT_USER);
    await i.showModal(form);
    await assert.rejects(i.reply('late'), /already been/); // discord.js remembers by itself
  },
  async details(i) {
    await i.deferUpdate();
    await i.editReply(card('edited by details'));
    await i.followUp({ content: 'the details', flags: MessageFlags.Ephemeral });
  },
  async menu(i) {
    assert.strictEqual(i.customId, 'state:JIT-1042');
    assert.deepStrictEqual(i.values, ['On Hold']);
    await i.update(card('on hold'));
  },
  async submit(i) {
    assert.strictEqual(i.customId, 'approve:JIT-1042');
    assert.strictEqual(i.isFromMessage(), true);
    assert.strictEqual(i.fields.getTextInputValue('reason'), 'fine');
    assert.strictEqual(i.fields.getRadioGroup('unit'), 'minutes');
    assert.deepStrictEqual([...i.fields.getStringSelectValues('where')], []);
    assert.strictEqual(i.fields.getTextInputValue('amount'), '');
    await i.deferReply({ flags: MessageFlags.Ephemeral });
    const edited = await i.editReply({ content: 'approved', components: [] });
    assert.strictEqual(edited.content, 'approved');
    const more = await i.followUp('for all to see');
    assert.strictEqual(more.channelId, CHANNEL);
    await assert.rejects(client.rest.post(`/interactions/${i.id}/${i.token}/callback`, { auth: false, body: { type: 6 } }), { code: 40060 });
  },
  async update(i) {
    await i.update(card('updated by a form'));
  },
  async autocomplete(i) {
    assert.deepStrictEqual(i.options.getFocused(true).value, 'JIT');
    await i.respond([{ name: 'JIT-1042: root on db-1', value: 'JIT-1042' }]);
  },
  async status(i) {
    assert.strictEqual(i.commandName, 'epm');
    const { resource } = await i.reply({ content: 'all is well', flags: MessageFlags.Ephemeral, withResponse: true });
    assert.strictEqual(resource.message.content, 'all is well');
    assert.strictEqual((await i.fetchReply()).content, 'all is well');
    await i.deleteReply();
  },
  async ticket(i) {
    await i.reply('ticket ' + i.options.getString('number', true));
  },
};
let updating = false;
function which(i) {
  if (i.isButton()) return i.customId.startsWith('details:') ? 'details' : 'click';
  if (i.isStringSelectMenu()) return 'menu';
  if (i.isModalSubmit()) return updating ? 'update' : (updating = true, 'submit');
  if (i.isAutocomplete()) return 'autocomplete';
  return i.options.getSubcommand();
}
const fail = (e) => console.log('ERROR ' + String(e.stack || e).replaceAll('\n', ' '));
client.on(Events.InteractionCreate, (i) => { const name = which(i); handlers[name](i).then(() => ok(name), fail); });
client.on(Events.Error, fail);
let started = false;
client.on(Events.ShardReady, () => { if (started) ok('ready again'); started = true; });
client.on(Events.ShardResume, () => ok('resume'));

client.once(Events.ClientReady, async () => {
  assert.strictEqual(client.user.id, BOT_USER);
  const set = await client.application.commands.set([command], GUILD);
  assert.deepStrictEqual(set.map((c) => c.name), ['epm']);
  assert.strictEqual((await client.application.commands.fetch({ guildId: GUILD })).size, 1);
  ok('register');
  const channel = await client.channels.fetch(CHANNEL, { allowUnknownGuild: true });
  const posted = await channel.send({ ...card('posted'), nonce: 'JIT-1042.1', enforceNonce: true });
  const again = await channel.send({ ...card('posted twice'), nonce: 'JIT-1042.1', enforceNonce: true });
  assert.strictEqual(again.id, posted.id);
  ok('post');
  const edited = await channel.messages.edit(posted.id, card('edited'));
  assert.strictEqual(edited.components[0].components[0].content, 'edited');
  const second = await channel.send('second');
  const list = async (query) => [...(await channel.messages.fetch({ limit: 10, cache: false, ...query })).keys()];
  assert.deepStrictEqual(await list(), [second.id, posted.id]);
  assert.deepStrictEqual(await list({ after: posted.id }), [second.id]);
  await channel.messages.delete(second.id);
  ok('edit');
  const thread = await channel.threads.create({ name: 'JIT-1042', startMessage: posted.id });
  assert.strictEqual(thread.id, posted.id);
  assert.strictEqual((await thread.send('in the thread')).channelId, thread.id);
  ok('thread');
  const guild = await client.guilds.fetch({ guild: GUILD, force: true });
  const member = await guild.members.fetch({ user: PERSON, force: true });
  assert.strictEqual(member.displayName, 'Ann Approver');
  assert.ok(member.permissions.has('Administrator'));
  assert.ok((await guild.channels.fetch()).has(CHANNEL));
  assert.strictEqual((await member.send('in private')).inGuild(), false);
  ok('member');
  await assert.rejects(channel.messages.edit('1', { content: 'x' }), { code: 10008 });
  await assert.rejects(client.channels.fetch('1', { allowUnknownGuild: true }), { code: 10003 });
  ok('errors of the API');
  console.log('READY');
});
client.login(BOT_TOKEN).catch((e) => { fail(e); process.exit(1); });
process.on('unhandledRejection', fail);
process.stdin.resume().on('end', () => { client.destroy().finally(() => process.exit(0)); });
