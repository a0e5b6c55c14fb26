// What is in the worklist now, what is selected, and is a hand in it?
import { ApiError, api, type GoneTask, type SiteName, type Tab, type Task } from "../lib/api";
import { keepCase } from "../lib/claimed";
import { named, t } from "../lib/i18n";
import { live, onLive } from "../lib/live";
import { go } from "../lib/route.svelte";
import { who } from "../lib/session.svelte";
import { ago, clock } from "../lib/time";
import { refusalWord } from "../lib/words";
import { append, apply, belongs, closeLeft, NO_ROWS, order, reconcile, settle, type Filter, type Rows } from "./list";

const PAGE = 200; // the most the server gives at once
/** A moved selection holds the list still for this long after the last key; a pointer does as long as it is in the list. */
const HAND_RESTS_MS = 45_000;
const COUNTS_EVERY_MS = 2_000;
const KEPT_TAB = "teleread.tab.";
const NO_COUNTS: Record<Tab, number> = { all: 0, ecg: 0, images: 0, mine: 0 };

/** Somebody who reads ECGs only finds the ECGs again tomorrow. */
function keptTab(me: string): Tab {
  const kept = localStorage.getItem(KEPT_TAB + me);
  return kept === "ecg" || kept === "images" ? kept : "all";
}

class Worklist {
  filter = $state.raw<Filter>({ tab: "all", priority: null, site: null, q: "" });
  rows = $state.raw<Rows>(NO_ROWS);
  counts = $state.raw<Record<Tab, number>>(NO_COUNTS);
  sites = $state.raw<SiteName[]>([]);
  selected = $state<string | null>(null);
  /** Key of the page after the last one loaded; null when all is here. */
  next = $state<string | null>(null);
  loaded = $state(false);
  error = $state.raw<unknown>(null);
  /** What was said about the last try to claim. */
  said = $state("");
  claiming = $state(false);
  peeking = $state(true);
  /** Counts the moves by key, so that the list shows the selected row even when it stayed the same. */
  moves = $state(0);
  scrollTop = 0;

  #person = "";
  #aimed: string | null = null;
  #asked = 0;
  #more = false;
  /** What the stream said while a question was under way: an answer may be older than it. */
  #during: (Task | GoneTask)[] = [];
  #underWay = 0;
  #pointer = false;
  #touched = 0;
  #at = 0; // where the selected row stood, to go on from when it has left
  #countsAt = 0;
  #countsTimer: ReturnType<typeof setTimeout> | undefined;
  #againTimer: ReturnType<typeof setTimeout> | undefined;

  // ---- selection ------------------------------------------------------------------------------------------------
  index = $derived(this.rows.shown.findIndex((task) => task.id === this.selected));
  task = $derived(this.index < 0 ? null : (this.rows.shown[this.index] ?? null));

  /** Rows that the list would have if all were loaded; unknown under a filter the counts do not know. */
  get total(): number {
    if (this.next === null) return this.rows.shown.length;
    const plain = this.filter.priority === null && this.filter.site === null && this.filter.q === "";
    return Math.max(this.rows.shown.length + 1, plain ? this.counts[this.filter.tab] : this.rows.shown.length + 20);
  }

  // ---- hands ----------------------------------------------------------------------------------------------------
  get held(): boolean {
    return this.#pointer || Date.now() - this.#touched < HAND_RESTS_MS;
  }

  pointerIn(): void {
    this.#pointer = true;
  }

  pointerOut(): void {
    this.#pointer = false;
  }

  #touch(): void {
    this.#touched = Date.now();
    this.said = "";
  }

  /** The hand is off: whatever waited comes in now. */
  release(): void {
    this.#touched = 0;
    this.#settle();
  }

  /** Let in what waits, though the hand is still there: the person asked for it. */
  showNew(): void {
    this.said = "";
    this.#settle();
  }

  #settle(): void {
    this.#set(settle(this.rows));
  }

  #set(rows: Rows): void {
    if (rows === this.rows) return;
    this.rows = rows;
    if (rows.shown.length === 0) this.selected = null;
    else if (!rows.shown.some((task) => task.id === this.selected)) this.selected = rows.shown[Math.min(this.#at, rows.shown.length - 1)]!.id;
    this.#at = Math.max(0, rows.shown.findIndex((task) => task.id === this.selected));
  }

  /** Stand on this task when the list opens next (from the board). */
  aim(id: string): void {
    const me = who.user?.name ?? "";
    if (this.#person !== me) this.#forget(me);
    this.#aimed = id;
  }

  select(id: string): void {
    this.#touch();
    this.selected = id;
    this.#at = Math.max(0, this.index);
  }

  /** Move the selection by rows; faded rows close first, as this is "the next key". */
  move(by: number): void {
    this.#touch();
    this.#set(closeLeft(this.rows));
    const shown = this.rows.shown;
    if (shown.length === 0) return;
    const to = Math.min(shown.length - 1, Math.max(0, this.index < 0 ? 0 : this.index + by));
    this.selected = shown[to]!.id;
    this.#at = to;
    this.moves += 1;
    if (to > shown.length - 50) void this.loadMore();
  }

  // ---- asking ---------------------------------------------------------------------------------------------------
  narrow(change: Partial<Filter>): void {
    this.filter = { ...this.filter, ...change };
    if (change.tab !== undefined) localStorage.setItem(KEPT_TAB + this.#person, change.tab);
    this.said = "";
    this.#touched = 0;
    this.#at = 0;
    void this.load(true);
  }

  /** Ask for the list. `anew`: another list than the one shown, so nothing needs to keep still. */
  async load(anew = false): Promise<void> {
    const mine = ++this.#asked;
    const heard = this.#listen();
    try {
      const page = await api.tasks.list({ ...this.filter, limit: PAGE });
      if (mine !== this.#asked) return;
      this.error = null;
      this.counts = page.counts;
      this.sites = page.sites;
      const fresh = anew || !this.loaded;
      if (fresh) this.selected = null;
      this.next = page.next;
      this.#set(reconcile(this.rows, page.tasks, !fresh && this.held, page.next === null));
      for (const told of heard()) this.#take(told);
      if (fresh) this.#chooseFirst();
      this.#takeAim();
      this.loaded = true;
    } catch (error) {
      if (mine === this.#asked) this.error = error;
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Note what the stream says from now on; the answer gives it. Every call must end with one less under way. */
  #listen(): () => (Task | GoneTask)[] {
    if (this.#underWay === 0) this.#during = [];
    this.#underWay += 1;
    const from = this.#during.length;
    return () => this.#during.slice(from);
  }

  async loadMore(): Promise<void> {
    if (this.next === null || this.#more) return;
    this.#more = true;
    const mine = this.#asked;
    const heard = this.#listen();
    try {
      const page = await api.tasks.list({ ...this.filter, after: this.next, limit: PAGE });
      if (mine !== this.#asked) return;
      this.next = page.next;
      this.#set(append(this.rows, page.tasks));
      for (const told of heard()) this.#take(told);
    } catch {
      // The grey rows stay; scrolling asks again.
    } finally {
      this.#underWay -= 1;
      this.#more = false;
    }
  }

  /** Begin at the first case that nobody else holds, so that Enter is the only key needed. */
  #chooseFirst(): void {
    const me = who.user?.name;
    const free = this.rows.shown.find((task) => task.claimed_by === null || task.claimed_by.name === me);
    this.selected = (free ?? this.rows.shown[0])?.id ?? null;
    this.#at = Math.max(0, this.index);
  }

  #takeAim(): void {
    if (this.#aimed === null || !this.rows.shown.some((task) => task.id === this.#aimed)) return;
    this.selected = this.#aimed;
    this.#at = Math.max(0, this.index);
    this.#aimed = null;
  }

  #loadSoon(): void {
    this.#againTimer ??= setTimeout(() => {
      this.#againTimer = undefined;
      void this.load();
    }, 300);
  }

  #refreshCounts(): void {
    if (this.#countsTimer !== undefined) return;
    const wait = Math.max(150, this.#countsAt + COUNTS_EVERY_MS - Date.now());
    this.#countsTimer = setTimeout(() => {
      this.#countsTimer = undefined;
      this.#countsAt = Date.now();
      api.tasks.list({ tab: "all", limit: 1 }).then((page) => { this.counts = page.counts; this.sites = page.sites; }, () => undefined);
    }, wait);
  }

  // ---- the live stream ------------------------------------------------------------------------------------------
  #hear(told: Task | GoneTask): void {
    this.#refreshCounts();
    if (this.#underWay > 0) this.#during.push(told);
    if (this.loaded) this.#take(told);
  }

  #take(told: Task | GoneTask): void {
    const known = this.rows.shown.some((task) => task.id === told.id);
    if (!known && !("gone" in told)) {
      // Only the server can tell whether a new task answers a search.
      if (this.filter.q !== "") return this.#loadSoon();
      const last = this.rows.shown[this.rows.shown.length - 1];
      if (this.next !== null && last !== undefined && order(told, last) > 0) return;
    }
    const me = who.user?.name ?? "";
    this.#set(apply(this.rows, told, this.held, (task) => belongs(task, this.filter, me)));
  }

  /** Follow the server while the page is open; call the answer to stop. From `onMount`: it must not run again by what it reads. */
  follow(): () => void {
    const me = who.user?.name ?? "";
    if (this.#person !== me) this.#forget(me);
    this.#pointer = false;
    this.#touched = 0;
    this.said = "";
    void this.load();
    const off = [
      onLive("task", (told) => this.#hear(told)),
      onLive("late", () => void this.load()),
      onLive("opened", () => void this.load()),
    ];
    const timer = setInterval(() => {
      if (!this.held) this.#settle();
    }, 1000);
    return () => {
      for (const stop of off) stop();
      clearInterval(timer);
      clearTimeout(this.#countsTimer);
      clearTimeout(this.#againTimer);
      this.#countsTimer = undefined;
      this.#againTimer = undefined;
    };
  }

  #forget(me: string): void {
    this.#person = me;
    this.filter = { tab: keptTab(me), priority: null, site: null, q: "" };
    this.rows = NO_ROWS;
    this.counts = NO_COUNTS;
    this.selected = null;
    this.next = null;
    this.loaded = false;
    this.error = null;
    this.scrollTop = 0;
    this.#at = 0;
  }

  // ---- claiming -------------------------------------------------------------------------------------------------
  /** Claim the selected task and open it; says in words why not. */
  async open(): Promise<void> {
    const task = this.task;
    if (task === null || this.claiming) return;
    if (live.stale) this.said = t(`列表停在 ${clock(live.asOf)}，重连后才能领取`, `The list is as of ${clock(live.asOf)}; claiming waits for the connection`);
    else if (this.rows.leaving.has(task.id)) this.said = t("这一例已经离开列表", "This case has left the list");
    else if (!who.is("reader", "reviewer")) this.said = t("只有阅片医生可以领取", "Only readers can claim");
    else if (task.claimed_by !== null && task.claimed_by.name !== who.user?.name) {
      this.said = heldBy(task.claimed_by.display, task.claimed_by.display_en, task.claimed_by.since);
    } else await this.#claim(task);
  }

  async #claim(task: Task): Promise<void> {
    this.claiming = true;
    this.said = "";
    try {
      keepCase(await api.tasks.claim(task.id));
      go(`/read/${encodeURIComponent(task.id)}`);
    } catch (error) {
      this.said = this.#refused(task, error);
    } finally {
      this.claiming = false;
    }
  }

  #refused(task: Task, error: unknown): string {
    if (!(error instanceof ApiError)) return refusalWord(error);
    if (error.code === "already_claimed") {
      const { who: name, who_en: english, since } = error.details as { who: string | null; who_en: string | null; since: string | undefined };
      if (!name || !since) {
        void this.load();
        return t("已被另一位医生领取", "Another reader has claimed it");
      }
      const held: Task = { ...task, state: "CLAIMED", mine: false, claimed_by: { name: "", display: name, display_en: english || name, since } };
      this.#set(apply(this.rows, held, true, () => true));
      return heldBy(name, english, since);
    }
    if (error.code === "not_open") {
      void this.load();
      return t("这一例已不在待阅中", "This case is no longer open");
    }
    return refusalWord(error);
  }

  /** Give the selected task back to the list; its draft is kept. */
  async giveBack(): Promise<void> {
    const task = this.task;
    if (task === null) return;
    try {
      await api.tasks.release(task.id);
      this.said = t("已退回，草稿保留", "Released, the draft is kept");
      void this.load();
    } catch (error) {
      this.said = refusalWord(error);
    }
  }
}

/** "李彦龙 自 13:53 起在阅片（21 分）". */
function heldBy(name: string, english: string | null, since: string): string {
  return t(`${name} 自 ${clock(since)} 起在阅片（${ago(since)}）`, `${named(name, english)} has been reading it since ${clock(since)} (${ago(since)})`);
}

export const worklist = new Worklist();
