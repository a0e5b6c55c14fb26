// What happens on the server right now, and do we still hear it?
import { createSubscriber } from "svelte/reactivity";
import type { GoneTask, Task } from "./api";
import { noteServerTime, serverNow } from "./time";

export interface LiveEvents {
  task: Task | GoneTask;
  study: { study_id: string };
  critical: Record<string, never>;
  /** All that a locked screen hears: how many critical results wait for its person. */
  waiting: { open: number };
  late: { task_id: string; sop_uids: string[] };
  report: { report_id: string; state: string };
  clock: { server_time: string };
  /** The stream (re)opened: what was shown may be old, ask again. */
  opened: undefined;
  /** The server refuses the stream: signed out or locked. */
  refused: undefined;
}

type Name = keyof LiveEvents;
interface Message {
  kind: Name | "broken";
  data?: unknown;
}

const NAMES: readonly Exclude<Name, "waiting">[] = ["task", "study", "critical", "late", "report", "clock"];
/** The server beats every 15 s; two missed beats and some patience make the page stale. */
export const STALE_AFTER_MS = 40_000;
/** A stream that reconnects this fast never shows as broken. */
const RECONNECT_GRACE_MS = 4_000;

const handlers = new Map<Name, Set<(data: never) => void>>();
const watching = new Set<() => void>();
const watched = createSubscriber((update) => {
  watching.add(update);
  return () => watching.delete(update);
});

let heard = 0; // when we last heard anything, local clock
let heardServer = 0; // the same on the server's clock, for "as of 14:21"
let brokenSince = 0;
let stale = false;
let port: MessagePort | null = null;
let source: EventSource | null = null;
let session = "";
let nameless = false;
let watchdog: ReturnType<typeof setInterval> | undefined;

/** Silence of the stream, judged at `at` (local ms). */
export const isSilent = (at: number, lastHeard: number, broken: number): boolean =>
  at - lastHeard > STALE_AFTER_MS || (broken > 0 && at - broken > RECONNECT_GRACE_MS);

function judge(): void {
  const next = heard > 0 && isSilent(Date.now(), heard, brokenSince);
  if (next === stale) return;
  stale = next;
  for (const update of watching) update();
}

function emit<K extends Name>(name: K, data: LiveEvents[K]): void {
  for (const handler of handlers.get(name) ?? []) (handler as (data: LiveEvents[K]) => void)(data);
}

function receive(message: Message): void {
  if (message.kind === "broken" || message.kind === "refused") {
    brokenSince ||= Date.now();
    if (message.kind === "refused") emit("refused", undefined);
    setTimeout(judge, RECONNECT_GRACE_MS + 100);
    return;
  }
  heard = Date.now();
  brokenSince = 0;
  if (message.kind === "clock") noteServerTime((message.data as LiveEvents["clock"]).server_time);
  heardServer = serverNow();
  judge();
  const name = meaning(message.kind, message.data, nameless);
  if (name !== null) emit(name, message.data as never);
}

/** What a message tells this page. A locked one asks for nothing: every answer would be "locked". */
export function meaning(kind: Name, data: unknown, locked: boolean): Name | null {
  if (kind === "critical" && typeof (data as { open?: unknown }).open === "number") return "waiting";
  return locked && kind !== "clock" ? null : kind;
}

function openAlone(): void {
  source?.close();
  source = new EventSource(nameless ? "/api/live?nameless=1" : "/api/live");
  source.onopen = () => receive({ kind: "opened" });
  source.onerror = () => {
    const refused = source?.readyState === EventSource.CLOSED;
    receive({ kind: refused ? "refused" : "broken" });
    if (refused) setTimeout(() => { if (session !== "" && source?.readyState === EventSource.CLOSED) openAlone(); }, 5000);
  };
  for (const name of NAMES) {
    source.addEventListener(name, (event) => receive({ kind: name, data: JSON.parse((event as MessageEvent<string>).data) as unknown }));
  }
}

function openShared(): boolean {
  if (typeof SharedWorker === "undefined") return false;
  try {
    const worker = new SharedWorker(new URL("./live-worker.ts", import.meta.url), { type: "module", name: "teleread-live" });
    port = worker.port;
  } catch {
    return false;
  }
  port.onmessage = (event: MessageEvent<Message>) => receive(event.data);
  port.start();
  addEventListener("pagehide", () => port?.postMessage({ ask: "bye" }));
  addEventListener("pageshow", (event) => {
    if (event.persisted && session !== "") port?.postMessage({ ask: "open", session, nameless });
  });
  return true;
}

/** Open the stream for the session that is on now (named by anything that is its own); again after every change of person.
 *  A locked screen asks for the nameless one. */
export function startLive(of: string, locked = false): void {
  session = of;
  nameless = locked;
  heard = Date.now();
  heardServer = serverNow();
  brokenSince = 0;
  watchdog ??= setInterval(judge, 2000);
  const first = port === null && source === null;
  if (first && !openShared()) openAlone();
  else if (source !== null) openAlone();
  port?.postMessage({ ask: "open", session, nameless });
  judge();
}

/** Close it: signed out. */
export function stopLive(): void {
  port?.postMessage({ ask: "stop" });
  session = "";
  source?.close();
  heard = 0;
  judge();
}

/** Hear one kind of event; call the answer to stop. */
export function onLive<K extends Name>(name: K, handler: (data: LiveEvents[K]) => void): () => void {
  const all = handlers.get(name) ?? new Set();
  handlers.set(name, all);
  all.add(handler as (data: never) => void);
  return () => all.delete(handler as (data: never) => void);
}

export const live = {
  /** Reactive: true when nothing was heard for too long. Claiming and signing are then off. */
  get stale(): boolean {
    watched();
    return stale;
  },
  /** Until when what is shown is surely true (server clock, ms). */
  get asOf(): number {
    return heardServer;
  },
};
