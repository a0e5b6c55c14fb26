// How do all tabs of one browser share one live connection? (SharedWorker)

// A browser opens only six connections to one HTTP/1.1 server; one stream per tab would use them up.
const EVENTS = ["task", "study", "critical", "late", "report", "clock"] as const;
const ports = new Set<MessagePort>();
let session = "";
let nameless = false;
let source: EventSource | null = null;
let again: ReturnType<typeof setTimeout> | undefined;
let failures = 0;

function tell(message: { kind: string; data?: unknown }): void {
  for (const port of ports) port.postMessage(message);
}

function close(): void {
  clearTimeout(again);
  source?.close();
  source = null;
}

function open(): void {
  close();
  source = new EventSource(nameless ? "/api/live?nameless=1" : "/api/live");
  source.onopen = () => {
    failures = 0;
    tell({ kind: "opened" });
  };
  source.onerror = () => {
    // The browser tries again by itself unless the server answered with a refusal.
    const refused = source?.readyState === EventSource.CLOSED;
    tell({ kind: refused ? "refused" : "broken" });
    if (!refused) return;
    failures += 1;
    again = setTimeout(open, Math.min(30_000, 1000 * 2 ** failures));
  };
  for (const name of EVENTS) {
    source.addEventListener(name, (event) => tell({ kind: name, data: JSON.parse((event as MessageEvent<string>).data) as unknown }));
  }
}

/** `open` names the session: the same one shares the stream that is there, another one gets its own. */
type Asked = { ask: "open"; session: string; nameless: boolean } | { ask: "stop" } | { ask: "bye" };

function hear(port: MessagePort, asked: Asked): void {
  if (asked.ask === "bye") ports.delete(port);
  else ports.add(port);
  if (asked.ask === "stop" || ports.size === 0) close();
  else if (asked.ask === "open") {
    const same = source !== null && source.readyState !== EventSource.CLOSED && session === asked.session && nameless === asked.nameless;
    session = asked.session;
    nameless = asked.nameless;
    if (!same) open();
    else if (source?.readyState === EventSource.OPEN) port.postMessage({ kind: "opened" });
  }
}

// (The worker types of TypeScript clash with the page's; this is all that is used of them.)
(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0]!;
  ports.add(port);
  port.onmessage = (message: MessageEvent<Asked>) => hear(port, message.data);
  port.start();
};
