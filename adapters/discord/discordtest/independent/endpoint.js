// An HTTP endpoint for interactions that checks signatures with Discord's own
// package, driven by independent_test.go. READY and a port say that it listens.
'use strict';
const http = require('node:http');
const { InteractionResponseType, InteractionType, verifyKey } = require('discord-interactions');

const server = http.createServer(async (req, res) => {
  const chunks = [];
  for await (const c of req) chunks.push(c);
  const body = Buffer.concat(chunks);
  const good = await verifyKey(body, req.headers['x-signature-ed25519'] || '', req.headers['x-signature-timestamp'] || '', process.env.PUBLIC_KEY);
  console.log((good ? 'GOOD ' : 'BAD ') + body.length);
  if (!good) {
    res.writeHead(401).end('bad signature');
    return;
  }
  const pong = JSON.parse(body).type === InteractionType.PING;
  res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(pong ? { type: InteractionResponseType.PONG } : {
    type: InteractionResponseType.CHANNEL_MESSAGE_WITH_SOURCE,
    data: { content: 'verified', flags: 64, allowed_mentions: { parse: [] } },
  }));
});
server.listen(0, '127.0.0.1', () => console.log('READY ' + server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
