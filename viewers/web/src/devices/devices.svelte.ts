// What does the gateway know of its devices, and how fresh is it?
import { onLive } from "../lib/live";
import { held } from "./held";
import { wire, type Association, type Associations, type Device, type DevicePage, type Outgoing, type RefusedCaller } from "./wire";

export type Tab = "devices" | "refused" | "open" | "outgoing";

/** What is asked from memory alone is asked often; the rest when something has changed, and now and then. */
const OFTEN_MS = 2_000;
const SELDOM_MS = 20_000;
const GATHER_MS = 1_500;

export class DeviceRoom {
  page = $state.raw<DevicePage | null>(null);
  refused = $state.raw<RefusedCaller[] | null>(null);
  /** Callers that came while somebody points at the list. */
  waiting = $state.raw<RefusedCaller[]>([]);
  now = $state.raw<Associations | null>(null);
  outgoing = $state.raw<Outgoing[] | null>(null);
  error = $state.raw<unknown>(null);
  #rejected = -1;
  #gather: ReturnType<typeof setTimeout> | undefined;
  readonly #hold: () => boolean;

  /** `hold`: somebody points at the list of refused callers. */
  constructor(hold: () => boolean) {
    this.#hold = hold;
  }

  /** Open associations by device. */
  readonly open = $derived.by(() => {
    const by = new Map<number, Association[]>();
    for (const one of this.now?.associations ?? []) by.set(one.device_id, [...(by.get(one.device_id) ?? []), one]);
    return by;
  });

  async load(): Promise<void> {
    await this.#ask(async () => {
      const [page, refused, outgoing] = await Promise.all([wire.devices(), wire.refused(), wire.outgoing()]);
      this.page = page;
      this.outgoing = outgoing;
      this.#put(refused);
    });
  }

  async look(): Promise<void> {
    await this.#ask(async () => {
      const before = this.now;
      this.now = await wire.associations();
      const rejected = this.now.counters?.rejected ?? 0;
      const ended = (before?.associations ?? []).some((one) => !this.now?.associations.some((other) => other.id === one.id));
      // Somebody was turned away, or has hung up: both lists say something new soon.
      if ((rejected !== this.#rejected && this.#rejected !== -1) || ended) this.#soon();
      this.#rejected = rejected;
    });
  }

  async again(id: string): Promise<void> {
    await wire.again(id);
    this.outgoing = await wire.outgoing();
  }

  /** A device as the server has it now. */
  put(device: Device): void {
    if (this.page === null) return;
    this.page = { ...this.page, devices: [...this.page.devices.filter((one) => one.id !== device.id), device] };
  }

  dropRefused(id: string): void {
    this.refused = (this.refused ?? []).filter((one) => one.id !== id);
    this.waiting = this.waiting.filter((one) => one.id !== id);
  }

  /** Let those that waited stand in the list. */
  showNew(): void {
    if (this.waiting.length === 0) return;
    this.refused = newestFirst([...(this.refused ?? []), ...this.waiting]);
    this.waiting = [];
  }

  /** Follow until the answer is called. A page in the background asks nothing. */
  watch(): () => void {
    const seen = (): boolean => document.visibilityState === "visible";
    const often = setInterval(() => { if (seen()) void this.look(); }, OFTEN_MS);
    const seldom = setInterval(() => { if (seen()) void this.load(); }, SELDOM_MS);
    const back = (): void => { if (seen()) void Promise.all([this.look(), this.load()]); };
    document.addEventListener("visibilitychange", back);
    const off = onLive("opened", back);
    void this.look();
    void this.load();
    return () => {
      clearInterval(often);
      clearInterval(seldom);
      clearTimeout(this.#gather);
      document.removeEventListener("visibilitychange", back);
      off();
    };
  }

  #soon(): void {
    clearTimeout(this.#gather);
    this.#gather = setTimeout(() => void this.load(), GATHER_MS);
  }

  #put(fresh: RefusedCaller[]): void {
    const next = held(this.refused ?? [], newestFirst(fresh), this.#hold() && this.refused !== null);
    this.refused = next.shown;
    this.waiting = next.waiting;
  }

  async #ask(what: () => Promise<void>): Promise<void> {
    try {
      await what();
      this.error = null;
    } catch (failed) {
      this.error = failed;
    }
  }
}

const newestFirst = (rows: readonly RefusedCaller[]): RefusedCaller[] => [...rows].sort((a, b) => b.last_at.localeCompare(a.last_at) || a.id.localeCompare(b.id));
