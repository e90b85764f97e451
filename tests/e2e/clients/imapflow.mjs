// What a program on imapflow does: list, fetch every letter, upload one, flag, move, make a folder with a Polish name.
//   node imapflow.mjs '{"port": 1143, "tls": false, "user": "…", "pass": "…"}'   prints one JSON object

import { createHash } from "node:crypto";
import { ImapFlow } from "imapflow";

const { port, tls, user, pass } = JSON.parse(process.argv[2]);
const client = new ImapFlow({
  host: "127.0.0.1",
  port,
  secure: false,
  doSTARTTLS: tls,
  tls: { rejectUnauthorized: false },
  auth: { user, pass },
  logger: false,
});
const letter = "From: bob@example.test\r\nSubject: =?utf-8?q?za=C5=BC=C3=B3=C5=82=C4=87?=\r\n\r\nżółć\r\n";
const folder = "Podróże/Wrocław";
await client.connect();
const sums = [];
const lock = await client.getMailboxLock("INBOX");
try {
  for await (const one of client.fetch("1:*", { source: true, envelope: true, bodyStructure: true, flags: true, uid: true })) {
    sums.push(createHash("sha256").update(one.source).digest("hex"));
  }
} finally {
  lock.release();
}
await client.mailboxCreate(folder);
const added = await client.append(folder, Buffer.from(letter), ["\\Seen"], new Date("2024-02-29T12:00:00Z"));
const second = await client.getMailboxLock(folder);
let back, flags, moved;
try {
  back = (await client.fetchOne(String(added.uid), { source: true }, { uid: true })).source.toString() === letter;
  await client.messageFlagsAdd({ uid: String(added.uid) }, ["\\Flagged"], { uid: true });
  flags = [...(await client.fetchOne(String(added.uid), { flags: true }, { uid: true })).flags].sort();
  moved = await client.messageMove(String(added.uid), "Archive", { uid: true });
} finally {
  second.release();
}
const names = (await client.list()).map((box) => box.path).sort();
const archive = (await client.status("Archive", { messages: true })).messages;
await client.mailboxDelete(folder);
await client.logout();
console.log(JSON.stringify({ sums, back, flags, moved: Boolean(moved && moved.uidMap), names, archive, folder }));
