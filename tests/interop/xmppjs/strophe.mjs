// One device on strophe.js over BOSH, led by JSON lines: commands come in on stdin, events go out on stdout.
// test_bosh.py is the other end.
import http from "node:http";
import { createInterface } from "node:readline";

// Standard output is for events.
console.log = console.info = console.warn = console.debug = console.error;

const tell = (event, more = {}) => process.stdout.write(JSON.stringify({ event, ...more }) + "\n");

// As much of a browser's XMLHttpRequest as strophe.js uses; Node has none. `lost` makes the next
// answers vanish on their way, as on a bad network.
let lost = 0;
globalThis.XMLHttpRequest = class {
  readyState = 0;
  status = 0;
  responseText = "";
  responseXML = null;
  #headers = {};

  open(method, url) {
    this.request = http.request(url, { method, agent: new http.Agent({ keepAlive: false }) });
    this.request.on("error", () => this.#became(4));
    this.#became(1);
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  getAllResponseHeaders() {
    return "";
  }

  abort() {
    this.request.destroy();
  }

  send(body) {
    for (const [name, value] of Object.entries(this.#headers)) this.request.setHeader(name, value);
    this.request.on("response", async (answer) => {
      answer.setEncoding("utf8");
      let text = "";
      for await (const part of answer) text += part;
      if (lost > 0) {
        lost -= 1;
        tell("lost", { text });
        return this.#became(4);
      }
      this.status = answer.statusCode;
      this.responseText = text;
      this.responseXML = new DOMParser().parseFromString(text, "text/xml");
      this.#became(4);
    });
    this.request.end(body);
  }

  #became(state) {
    this.readyState = state;
    this.onreadystatechange?.();
  }
};

const { Strophe, $iq, $msg, $pres } = await import("strophe.js");
const { service, jid, password } = JSON.parse(process.argv[2]);
const names = Object.fromEntries(Object.entries(Strophe.Status).map(([name, value]) => [value, name.toLowerCase()]));

let device;

function connect() {
  device = new Strophe.Connection(service);
  device.addHandler((stanza) => {
    const body = stanza.getElementsByTagName("body")[0]?.textContent;
    tell("message", { from: stanza.getAttribute("from"), body });
    return true;
  }, null, "message");
  device.connect(jid, password, (status, condition) => {
    tell(names[status], { jid: device.jid, condition });
  });
}

const commands = {
  connect,
  presence: () => device.send($pres()),
  message: ({ to, body }) => device.send($msg({ to, type: "chat" }).c("body").t(body)),
  roster() {
    device.sendIQ($iq({ type: "get" }).c("query", { xmlns: "jabber:iq:roster" }), (answer) => {
      const items = [...answer.getElementsByTagName("item")].map((item) => item.getAttribute("jid"));
      tell("roster", { items });
    });
  },
  ping({ to }) {
    device.sendIQ($iq({ type: "get", to }).c("ping", { xmlns: "urn:xmpp:ping" }), () => tell("pong"));
  },
  lose: ({ answers }) => (lost = answers),
  disconnect: () => device.disconnect("done"),
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { command, ...more } = JSON.parse(line);
  commands[command](more);
});
lines.on("close", () => process.exit(0));

connect();
