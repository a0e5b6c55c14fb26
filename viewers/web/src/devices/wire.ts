// What does the engineer's page ask the server, and what comes back?
import { send, type Instant, type SiteName } from "../lib/api";

export interface DeviceGiven {
  site: string;
  ae_title: string;
  called: string | null;
  host: string | null;
  port: number | null;
  modality: string | null;
  tls: boolean;
  certificate: string | null;
  returns_reports: boolean;
}

export interface Device extends Omit<DeviceGiven, "site"> {
  id: number;
  site: SiteName;
  one_per_image: boolean;
  last_seen_at: Instant | null;
  studies_today: number;
  instances_today: number;
}

export interface DevicePage {
  devices: Device[];
  /** The Sites a device may be given to. */
  sites: (SiteName & { kind: "center" | "hospital" })[];
  /** What a device must be told to call. */
  own: { ae_title: string; port: number; tls_port: number | null };
  may_change: boolean;
  as_of: Instant;
}

export interface RefusedCaller {
  id: string;
  calling: string;
  called: string;
  address: string;
  certificate: string | null;
  why: string;
  times: number;
  first_at: Instant;
  last_at: Instant;
  /** Sites that own a device of this calling AE Title already, and are seen from here. */
  known_at: SiteName[];
}

export interface Association {
  id: string;
  device_id: number;
  ae_title: string;
  site: SiteName;
  address: string;
  tls: boolean;
  since: Instant;
  instances: number;
  bytes: number;
  state: string;
}

export interface Counters {
  since: Instant;
  accepted: number;
  rejected: number;
  stored: number;
  refused: number;
  bytes: number;
}

export interface Associations {
  /** False where DICOM runs in another process: nothing is known here. */
  here: boolean;
  associations: Association[];
  counters: Counters | null;
}

export interface Outgoing {
  id: string;
  kind: string;
  device: { ae_title: string } | null;
  site: SiteName | null;
  state: "waiting" | "failed";
  attempts: number;
  reason: string | null;
  since: Instant | null;
  due_at: Instant | null;
}

/** One line of a test: what was tried, whether it went well (null: not tried), and what is to be said. */
export interface TestLine {
  step: string;
  ok: boolean | null;
  text: string;
}

async function ask<T>(path: string, method = "GET", json?: unknown): Promise<T> {
  const response = await send(path, { method, json });
  return (response.status === 204 ? undefined : await response.json()) as T;
}

const one = (id: string | number): string => encodeURIComponent(String(id));

export const wire = {
  devices: (): Promise<DevicePage> => ask("/api/devices"),
  add: (given: DeviceGiven): Promise<Device> => ask("/api/devices", "POST", given),
  change: (id: number, given: DeviceGiven): Promise<Device> => ask(`/api/devices/${one(id)}`, "PUT", given),
  remove: (id: number): Promise<void> => ask(`/api/devices/${one(id)}`, "DELETE", {}),
  refused: async (): Promise<RefusedCaller[]> => (await ask<{ refused: RefusedCaller[] }>("/api/refused-callers")).refused,
  admit: (id: string, given: DeviceGiven): Promise<Device> => ask(`/api/refused-callers/${one(id)}/admit`, "POST", given),
  ignore: (id: string): Promise<void> => ask(`/api/refused-callers/${one(id)}`, "DELETE", {}),
  associations: (): Promise<Associations> => ask("/api/associations"),
  outgoing: async (): Promise<Outgoing[]> => (await ask<{ transmissions: Outgoing[] }>("/api/transmissions")).transmissions,
  again: (id: string): Promise<void> => ask(`/api/transmissions/${one(id)}/again`, "POST", {}),
};

/** A test takes as long as a device may be silent, several times over. */
const TEST_PATIENCE_MS = 180_000;

/** Test a device; `hear` is called with each line as it comes. */
export async function test(id: number, hear: (line: TestLine) => void, left: AbortSignal): Promise<void> {
  const signal = AbortSignal.any([left, AbortSignal.timeout(TEST_PATIENCE_MS)]);
  const response = await send(`/api/devices/${one(id)}/test`, { method: "POST", json: {}, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) return;
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") hear(JSON.parse(line) as TestLine);
    if (done) return;
  }
}
