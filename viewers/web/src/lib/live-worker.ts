// How do all tabs of one browser share one live connection? (SharedWorker)

// A browser opens only six connections to one HTTP/1.1 server; one stream per tab would use them up.
const EVENTS = ["task", "study", "critical", "late", "report", "clock"] as const;
const ports = new Map<MessagePort, number>();
let source: EventSource | null = null;
let again: ReturnType<typeof setTimeout> | undefined;
let failures = 0;

function tell(message: { kind: string; data?: unknown }): void {
  for (const port of ports.keys()) port.postMessage(message);
}

function close(): void {
  clearTimeout(again);
  source?.close();
  source = null;
}

function open(): void {
  close();
  source = new EventSource("/api/live");
  source.onopen = () => {
    failures = 0;
    tell({ kind: "opened" });
  };
  source.onerror = () => {
    tell({ kind: "broken" });
    // The browser tries again by itself unless the server answered with a refusal.
    if (source?.readyState !== EventSource.CLOSED) return;
    failures += 1;
    again = setTimeout(open, Math.min(30_000, 1000 * 2 ** failures));
  };
  for (const name of EVENTS) {
    source.addEventListener(name, (event) => tell({ kind: name, data: JSON.parse((event as MessageEvent<string>).data) as unknown }));
  }
}

function welcome(port: MessagePort): void {
  ports.set(port, Date.now());
  port.onmessage = (event: MessageEvent<"hello" | "restart" | "stop" | "bye">) => {
    if (event.data === "bye") ports.delete(port);
    else ports.set(port, Date.now());
    if (event.data === "stop" || ports.size === 0) close();
    else if (event.data === "restart") open();
    else if (event.data === "hello") {
      if (source === null) open();
      else if (source.readyState === EventSource.OPEN) port.postMessage({ kind: "opened" });
    }
  };
  port.start();
}

// (The worker types of TypeScript clash with the page's; this is all that is used of them.)
(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => welcome(event.ports[0]!);
