// Which studies of this center are shown: of which day or search, and how fresh?
import { api, type CenterDay, type CenterStudy, send } from "../lib/api";
import { onLive } from "../lib/live";
import { day, now, serverNow } from "../lib/time";
import { arrange, ordered } from "./order";

/** Grey blocks come only when the answer takes longer than this. */
const SLOW_MS = 300;
/** Several events of one study are one question. */
const GATHER_MS = 150;

/** The server says which day it is on the center's wall; a workstation may stand in another zone. */
type Answer = CenterDay & { day?: string };

/** What is searched for goes in the body: a name never stands in an address. */
async function found(q: string): Promise<Answer> {
  const response = await send("/api/center/studies/find", { method: "POST", json: { q } });
  return (await response.json()) as Answer;
}

export class CenterDayView {
  /** "YYYY-MM-DD"; null is today, also after midnight. */
  chosen = $state<string | null>(null);
  /** What is searched for, over all days; empty shows the day. */
  search = $state("");
  shown = $state.raw<CenterStudy[]>([]);
  behind = $state.raw<CenterStudy[]>([]);
  /** The server has answered for what is asked now. */
  known = $state(false);
  slow = $state(false);
  error = $state.raw<unknown>(null);
  asOf = $state<string | null>(null);
  #asking = 0;
  #gather: ReturnType<typeof setTimeout> | undefined;
  #toldToday = $state.raw<{ day: string; at: string } | null>(null);
  readonly #held: () => boolean;

  /** `held`: pointer or focus is in the list, rows stay where they are. */
  constructor(held: () => boolean) {
    this.#held = held;
  }

  /** Today at the center, by the workstation's own clock until the server has said it. Reactive. */
  today(): string {
    const here = day(now());
    return this.#toldToday?.at === here ? this.#toldToday.day : here;
  }

  /** Show another day or search: the old rows go, they would stand under the wrong heading. */
  async look(change: { day?: string | null; search?: string }): Promise<void> {
    if (change.day !== undefined) this.chosen = change.day;
    if (change.search !== undefined) this.search = change.search;
    this.known = false;
    this.shown = [];
    this.behind = [];
    await this.refresh();
  }

  /** Ask again for the same; rows that are shown stay where they are. */
  async refresh(): Promise<void> {
    const mine = ++this.#asking;
    const timer = setTimeout(() => { if (mine === this.#asking && !this.known) this.slow = true; }, SLOW_MS);
    try {
      const answer = await (this.search !== "" ? found(this.search) : api.center.studies(this.chosen === null ? {} : { day: this.chosen })) as Answer;
      if (mine !== this.#asking) return;
      const next = this.known ? arrange(this.shown, answer.studies, this.#held()) : { shown: ordered(answer.studies), behind: [] };
      this.shown = next.shown;
      this.behind = next.behind;
      this.known = true;
      this.error = null;
      this.asOf = answer.as_of;
      if (this.search === "" && this.chosen === null && answer.day !== undefined) this.#toldToday = { day: answer.day, at: day(serverNow()) };
    } catch (error) {
      if (mine === this.#asking) this.error = error;
    } finally {
      clearTimeout(timer);
      if (mine === this.#asking) this.slow = false;
    }
  }

  /** Bring in the rows that waited. */
  showNew(): void {
    this.shown = [...this.behind, ...this.shown];
    this.behind = [];
  }

  /** Lay one study's newer state into its row. */
  put(study: CenterStudy): void {
    this.shown = this.shown.map((row) => (row.study_id === study.study_id ? study : row));
  }

  withReport(reportId: string): CenterStudy | null {
    return this.shown.find((study) => study.report?.id === reportId || study.report?.replaced_by === reportId) ?? null;
  }

  #soon(): void {
    clearTimeout(this.#gather);
    this.#gather = setTimeout(() => void this.refresh(), GATHER_MS);
  }

  /** Follow the server while the page is open. Use as `$effect(() => view.watch())`. */
  watch(): () => void {
    void this.refresh();
    const off = [
      onLive("study", () => this.#soon()),
      onLive("opened", () => this.#soon()),
      onLive("report", () => this.#soon()),
    ];
    return () => {
      for (const stop of off) stop();
      clearTimeout(this.#gather);
    };
  }
}
