// One device on @xmpp/client, led by JSON lines: commands come in on stdin, events go out on stdout.
// test_xmppjs.py is the other end.
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import { client, xml } from "@xmpp/client";
import { WebSocket } from "ws";

// What @xmpp/client expects as globals, as in a browser; Node before 22 lacks them, and only this
// WebSocket can be cut without a word.
globalThis.WebSocket = WebSocket;
globalThis.crypto ??= webcrypto;

const UPLOAD = "urn:xmpp:http:upload:0";
const tell = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + "\n");

const { token, ...options } = JSON.parse(process.argv[2]);
if (options.userAgent) {
  options.userAgent = xml("user-agent", { id: options.userAgent }, [xml("software", {}, "device.mjs")]);
}
const device = client(options);
device.reconnect.delay = 50;
// Its own two seconds for each step are short for a debug build on a busy machine.
device.timeout = 15_000;

// A token from an earlier run of this device (FAST); a new one is told, so that it can be kept.
device.fast.fetchToken = async () => token;
device.fast.saveToken = async (saved) => tell("token", { token: saved });

device.on("online", (jid) => tell("online", { jid: jid.toString() }));
device.on("offline", () => tell("offline"));
device.on("disconnect", () => tell("disconnect"));
device.on("error", (error) => tell("error", { message: String(error), condition: error.condition }));
device.streamManagement.on("resumed", () => tell("resumed"));
device.streamManagement.on("ack", (stanza) => tell("ack", { id: stanza.attrs.id }));
device.streamManagement.on("fail", (stanza) => tell("fail", { id: stanza.attrs.id }));
device.on("send", (element) => {
  if (element.name === "auth" || element.name === "authenticate") {
    tell("mechanism", { mechanism: element.attrs.mechanism, profile: element.attrs.xmlns });
  }
});
device.on("stanza", (stanza) => {
  if (stanza.name === "message") {
    const { from, id, type } = stanza.attrs;
    tell("message", { from, id, type, body: stanza.getChildText("body"), subject: stanza.getChildText("subject") });
  }
  const inRoom = stanza.getChild("x", "http://jabber.org/protocol/muc#user");
  if (stanza.name === "presence" && (inRoom || stanza.attrs.type === "error")) {
    const { from, type } = stanza.attrs;
    const codes = inRoom?.getChildren("status").map((status) => status.attrs.code) ?? [];
    const condition = stanza.getChild("error")?.children[0]?.name;
    tell("occupant", { from, type, codes, role: inRoom?.getChild("item")?.attrs.role, condition });
  }
});

// @xmpp/client 0.14 may still write to a line that has just been cut; it dials again all the same.
process.on("uncaughtException", (error) => tell("error", { message: String(error) }));

const commands = {
  presence: () => device.send(xml("presence")),
  message: ({ to, body, id, type = "chat" }) => device.send(xml("message", { to, id, type }, xml("body", {}, body))),
  enter: ({ room, nick }) =>
    device.send(xml("presence", { to: `${room}/${nick}` }, xml("x", { xmlns: "http://jabber.org/protocol/muc" }))),
  async ask({ to, name, xmlns }) {
    try {
      const answer = await device.iqCaller.get(xml(name, { xmlns }), to);
      tell("answer", { xml: answer?.toString() ?? "" });
    } catch (error) {
      tell("answer", { condition: error.condition ?? String(error) });
    }
  },
  // A slot (XEP-0363), the file into it when there is one, and its address to somebody (XEP-0066).
  async upload({ to, name, type, size, content, share }) {
    const file = Buffer.from(content ?? "", "base64");
    const wanted = { xmlns: UPLOAD, filename: name, size: String(size ?? file.length) };
    if (type) wanted["content-type"] = type;
    try {
      const answer = await device.iqCaller.request(xml("iq", { type: "get", to }, xml("request", wanted)));
      const slot = answer.getChild("slot", UPLOAD);
      const [put, get] = ["put", "get"].map((name) => slot.getChild(name).attrs.url);
      const headers = slot.getChild("put").getChildren("header").map((header) => [header.attrs.name, header.text()]);
      if (type) headers.push(["Content-Type", type]);
      const sent = file.length > 0 && (await fetch(put, { method: "PUT", body: file, headers }));
      if (share) {
        const link = xml("x", "jabber:x:oob", xml("url", {}, get));
        await device.send(xml("message", { to: share, type: "chat" }, xml("body", {}, get), link));
      }
      tell("uploaded", { put, get, headers: Object.fromEntries(headers), status: sent ? sent.status : null });
    } catch (error) {
      tell("uploaded", { condition: error.condition ?? String(error) });
    }
  },
  async download({ url, headers }) {
    const got = await fetch(url, { headers });
    const content = Buffer.from(await got.arrayBuffer()).toString("base64");
    tell("downloaded", { status: got.status, headers: Object.fromEntries(got.headers), content });
  },
  // The line goes dead without a word; @xmpp/reconnect then dials again.
  cut() {
    const { socket } = device.socket;
    if (socket.destroy) socket.destroy();
    else socket.terminate();
  },
  async stop() {
    await device.stop();
    process.exit(0);
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { command, ...more } = JSON.parse(line);
  await commands[command](more);
});
lines.on("close", () => process.exit(0));

await device.start().catch((error) => tell("failed", { message: String(error), condition: error.condition }));
