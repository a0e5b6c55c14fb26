// What is the state of one case on one page?
//
// One Room lives for one task. It asks only for that task, and refuses an answer that speaks of another one: two tabs,
// or a slow answer after the reader has gone on, cannot put one patient's text under another patient's name.

import { ApiError, type Case, type EcgRecording, type ReturnReason, type Signed, type Task, api, isApiError } from "../lib/api";
import { forgetSigned, rememberSigned } from "../lib/grace.svelte";
import type { Words } from "../lib/i18n";
import { kindWord, patientName } from "../lib/words";
import { live, onLive } from "../lib/live";
import { beforeLock, unlockSigning, who } from "../lib/session.svelte";
import { serverNow } from "../lib/time";
import { takeOver } from "./history";
import { PaintedFacts } from "./painted";
import { type Around, draftKey, DraftKeeper, type Fields, holderOf, type Kept } from "./report/draft";
import { LeaseKeeper } from "./report/lease";
import { blankIn, fieldOf, type Hindrance, hindranceOf, Signer } from "./report/signing";
import { toPaintOf, type View, viewsOf } from "./views";

export type Box = "none" | "password" | "return";
export type Focus = "findings" | "impression" | "result" | "password" | "picker";

const LEASE_TICK_MS = 10_000;

export class Room {
  readonly taskId: string;

  case = $state.raw<Case | null>(null);
  /** Why the case could not be had. */
  error = $state.raw<unknown>(null);
  views = $state.raw<readonly View[]>([]);
  current = $state.raw<View | null>(null);
  recordings = $state.raw<readonly EcgRecording[] | null>(null);
  recordingsError = $state.raw<unknown>(null);
  late = $state.raw<readonly string[]>([]);
  leaseUntil = $state<string | null>(null);
  kept = $state.raw<Kept | null>(null);

  signed = $state.raw<Signed | null>(null);
  signing = $state(false);
  /** What the server said to the last press, or to the last step. */
  refusal = $state.raw<unknown>(null);
  box = $state<Box>("none");
  /** Ask the panel to put the focus somewhere; counted, so that the same place can be asked for twice. */
  focus = $state.raw<{ at: Focus; n: number }>({ at: "findings", n: 0 });
  gone = $state.raw<"returned" | "released" | null>(null);

  #paintedTick = $state(0);
  #painted = new PaintedFacts([]);
  /** The ECGs, each in its content, that `recordings` are of or will be. */
  #leads = "";
  #keeper: DraftKeeper | null = null;
  #signer: Signer;
  #lease = new LeaseKeeper(Date.now());
  #closed = false;
  #off: (() => void)[] = [];

  constructor(taskId: string) {
    this.taskId = taskId;
    this.#signer = new Signer((request) => api.tasks.sign(this.taskId, request));
  }

  /** Load the case and follow what happens to it; the answer ends that. */
  open(): () => void {
    void this.load();
    const timer = setInterval(() => void this.#extendWhenDue(), LEASE_TICK_MS);
    const leave = (): void => this.#leave();
    // A page that comes back from the browser's memory has lost its timer.
    const back = (event: PageTransitionEvent): void => { if (event.persisted) void this.flush(); };
    addEventListener("pagehide", leave);
    addEventListener("pageshow", back);
    this.#off = [
      onLive("late", (told) => { if (told.task_id === this.taskId) void this.#refresh(); }),
      onLive("task", (task) => this.#follow(task)),
      onLive("opened", () => { if (this.case !== null) void this.#refresh(); }),
      beforeLock(() => this.flush()),
      () => clearInterval(timer),
      () => removeEventListener("pagehide", leave),
      () => removeEventListener("pageshow", back),
    ];
    return () => this.#close();
  }

  async load(): Promise<void> {
    this.error = null;
    try {
      this.#enter(this.#checked(takeOver(this.taskId) ?? (await api.tasks.case(this.taskId))));
    } catch (error) {
      if (!this.#closed) this.error = error;
    }
  }

  async claim(): Promise<void> {
    this.refusal = null;
    try {
      this.#enter(this.#checked(await api.tasks.claim(this.taskId)));
    } catch (error) {
      this.refusal = error;
    }
  }

  // ---- what is looked at -----------------------------------------------------------------------------------------
  show(view: View): void {
    this.current = view;
  }

  /** The next or previous view of the study. */
  turn(by: 1 | -1): void {
    const at = this.views.findIndex((view) => view.key === this.current?.key);
    const next = this.views[at + by];
    if (next !== undefined) this.show(next);
  }

  /** A view is painted; said of the very one that was, whatever has come meanwhile. */
  markOpened(view: View): void {
    this.#painted.opened(view);
    this.#paintedTick++;
  }

  markHere(sopUid: string, v: string): void {
    this.#painted.here(sopUid, v);
    this.#paintedTick++;
  }

  get paintedAll(): boolean {
    void this.#paintedTick;
    return this.case !== null && this.#painted.complete;
  }

  /** Something of this case stands on the screen: what is pressed now is meant for it. */
  get paintedFront(): boolean {
    void this.#paintedTick;
    return this.case !== null && (this.current === null || this.#painted.isOpened(this.current));
  }

  get paintedCount(): { seen: number; total: number; unopened: readonly View[] } {
    void this.#paintedTick;
    return { seen: this.#painted.painted.length, total: this.#painted.total, unopened: this.#painted.unopened };
  }

  isOpened(view: View): boolean {
    void this.#paintedTick;
    return this.#painted.isOpened(view);
  }

  // ---- the text --------------------------------------------------------------------------------------------------
  get editable(): boolean {
    return this.case?.editable === true && this.signed === null && this.gone === null && this.kept !== null && this.kept.keeping !== "lost";
  }

  get fields(): Fields {
    return this.kept?.fields ?? { findings: "", impression: "", result: null, key_image: null };
  }

  get untouched(): boolean {
    void this.kept;
    return this.#keeper?.untouched ?? false;
  }

  change(part: Partial<Fields>): void {
    if (!this.editable) return;
    this.refusal = null;
    this.touch();
    this.#keeper?.change(part);
  }

  async flush(): Promise<boolean> {
    return (await this.#keeper?.flush()) ?? true;
  }

  settleFound(use: boolean): void {
    this.#keeper?.settleFound(use);
  }

  settleConflict(mine: boolean): void {
    this.#keeper?.settleConflict(mine);
  }

  /** A sign of work on this case: the lease is extended while it goes on. */
  touch(): void {
    this.#lease.moved(Date.now());
  }

  ask(at: Focus): void {
    this.focus = { at, n: this.focus.n + 1 };
  }

  // ---- late instances --------------------------------------------------------------------------------------------
  /** Those that came after opening, once they were looked at. */
  async seenLate(): Promise<void> {
    this.refusal = null;
    try {
      this.late = await api.tasks.seen(this.taskId, [...this.late]);
    } catch (error) {
      this.refusal = error;
    }
  }

  get lateAllPainted(): boolean {
    void this.#paintedTick;
    const painted = new Set(this.#painted.painted.map((one) => one.sop_uid));
    const shown = new Set(this.views.flatMap((view) => toPaintOf(view).map((one) => one.sop_uid)));
    return this.late.every((sopUid) => painted.has(sopUid) || !shown.has(sopUid));
  }

  // ---- the signature ---------------------------------------------------------------------------------------------
  get hindrance(): Hindrance | null {
    return hindranceOf({
      editable: this.case?.editable === true && this.signed === null && this.gone === null,
      lost: this.kept?.keeping === "lost",
      painted: this.paintedAll,
      late: this.late.length,
      fields: this.fields,
      notOnServer: this.kept !== null && ["here", "refused", "conflict"].includes(this.kept.keeping),
      stale: live.stale,
    });
  }

  /** One press of the sign key or button. */
  async sign(): Promise<void> {
    // Beneath the lock, or with another question open in the panel, the press was not meant for the signature.
    if (this.signing || this.case === null || who.presence !== "in" || this.box === "return") return;
    const hindrance = this.hindrance;
    if (hindrance === "no_impression") this.ask("impression");
    if (hindrance === "no_result") this.ask("result");
    if (hindrance === "blank") this.ask(blankIn(this.fields) ?? "findings");
    if (hindrance !== null) return;
    if (!who.maySign && !this.#signer.unknown) {
      this.#askPassword();
      return;
    }
    this.signing = true;
    this.refusal = null;
    try {
      if (!(await this.flush())) return;
      const signed = await this.#signer.press({
        study_id: this.case.study.id,
        draft_version: this.kept?.version ?? 0,
        painted: this.#painted.painted,
      });
      this.#done(signed);
    } catch (error) {
      this.#refused(error);
    } finally {
      this.signing = false;
    }
  }

  async unlock(password: string): Promise<void> {
    await unlockSigning(password);
    this.box = "none";
    this.refusal = null;
  }

  async giveBack(reason: ReturnReason, note: string | null): Promise<void> {
    await api.tasks.return(this.taskId, reason, note);
    this.#keeper?.finish();
    this.box = "none";
    this.gone = "returned";
  }

  async release(): Promise<void> {
    await this.flush();
    await api.tasks.release(this.taskId);
    this.gone = "released";
  }

  /** The signature was taken back: the case is open again, with its text. */
  reopened(): void {
    forgetSigned();
    this.signed = null;
    void this.load();
  }

  // ---- inside ----------------------------------------------------------------------------------------------------
  #checked(answer: Case): Case {
    if (answer.task.id !== this.taskId || answer.task.study.id !== answer.study.id) throw new Error("the answer speaks of another case");
    return answer;
  }

  #enter(answer: Case): void {
    if (this.#closed) return;
    this.#take(answer);
    this.#keeper?.stop();
    this.#keeper = new DraftKeeper(answer.draft, this.#around());
    this.kept = this.#keeper.kept;
    this.#lease.extended(Date.now());
    this.gone = null;
  }

  #take(answer: Case): void {
    this.case = answer;
    this.late = answer.late;
    this.leaseUntil = answer.task.lease_until;
    this.views = viewsOf(answer.study.series);
    this.#painted = this.#painted.over(this.views);
    this.#paintedTick++;
    this.current = this.views.find((view) => view.key === this.current?.key) ?? this.views[0] ?? null;
    const leads = this.views.filter((view) => view.kind === "ecg").map((view) => view.content).join(" ");
    if (leads === this.#leads) return;
    this.#leads = leads;
    this.recordings = null; // those of another content must not stand under this one's name
    if (leads !== "") void this.loadRecordings();
  }

  async loadRecordings(): Promise<void> {
    const studyId = this.case?.study.id;
    if (studyId === undefined) return;
    const leads = this.#leads;
    this.recordingsError = null;
    try {
      const { recordings } = await api.studies.ecg(studyId);
      if (!this.#closed && this.case?.study.id === studyId && this.#leads === leads) this.recordings = recordings;
    } catch (error) {
      if (this.#leads !== leads) return;
      // "There is no recording that can be read" is an answer, and is said in the sheet's place.
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && ![401, 423, 429].includes(error.status)) this.recordings = [];
      else this.recordingsError = error;
    }
  }

  #around(): Around {
    const author = who.user?.name ?? "";
    return {
      save: (change) => api.tasks.saveDraft(this.taskId, change),
      storage: localStorage,
      storageKey: draftKey(this.taskId, author),
      now: () => Date.now(),
      later: (run, ms) => setTimeout(run, ms),
      never: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
      changed: (kept) => { if (!this.#closed) this.kept = kept; },
      lease: (until) => {
        this.leaseUntil = until;
        this.#lease.extended(Date.now());
      },
    };
  }

  /** New instances, or a stream that was away: the study's list may have grown. The reader's text is left alone. */
  async #refresh(): Promise<void> {
    try {
      const answer = this.#checked(await api.tasks.case(this.taskId));
      if (this.#closed || this.signed !== null || this.gone !== null) return;
      this.#take({ ...answer, draft: this.case?.draft ?? answer.draft });
      if (answer.editable !== true && this.editable) this.#keeper?.lose(namesOf(answer.task));
    } catch {
      // What is shown stays; the stream will tell again, and the server refuses a signature over unseen instances.
    }
  }

  #follow(task: Task | { id: string; gone: true }): void {
    const mine = this.case;
    if (task.id !== this.taskId || mine === null || this.signed !== null || this.signing || this.gone !== null) return;
    if ("gone" in task) {
      void this.#refresh();
      return;
    }
    if (task.version < mine.task.version) return;
    this.case = { ...mine, task };
    if (task.mine) this.leaseUntil = task.lease_until;
    else if (mine.editable && this.kept?.keeping !== "lost") void this.#refresh();
  }

  async #extendWhenDue(): Promise<void> {
    if (!this.editable || who.presence !== "in" || !this.#lease.due(Date.now())) return;
    this.#lease.extended(Date.now());
    try {
      this.leaseUntil = (await api.tasks.extend(this.taskId)).lease_until;
    } catch (error) {
      if (isApiError(error, "lease_lost")) this.#keeper?.lose(holderOf(error));
    }
  }

  #askPassword(): void {
    this.box = "password";
    this.ask("password");
  }

  #refused(error: unknown): void {
    if (isApiError(error, "signing_locked")) {
      if (who.session !== null) who.session = { ...who.session, signing_until: null };
      this.#askPassword();
      return;
    }
    this.refusal = error;
    if (isApiError(error, "lease_lost")) this.#keeper?.lose(holderOf(error));
    if (isApiError(error, "study_changed") || isApiError(error, "not_painted")) void this.#refresh();
    const field = fieldOf(error);
    if (field !== null) this.ask(field);
  }

  #done(signed: Signed): void {
    const task = this.case?.task;
    this.#keeper?.finish();
    this.signed = signed;
    if (task === undefined) return;
    rememberSigned({
      report_id: signed.report_id,
      task_id: this.taskId,
      label: `${patientName(task.patient)} ${kindWord(task.kind)}`,
      signed_at: signed.signed_at,
      effective_at: signed.effective_at,
    });
  }

  #leave(): void {
    const change = this.signed === null ? (this.#keeper?.leave() ?? null) : null;
    if (change !== null) void api.tasks.saveDraft(this.taskId, change, true).catch(() => undefined);
  }

  #close(): void {
    const keeper = this.#keeper;
    if (keeper !== null && this.signed === null) void keeper.flush().finally(() => keeper.stop());
    this.#closed = true;
    for (const off of this.#off) off();
  }

  /** Milliseconds of the lease that are left; null when there is none. */
  leaseLeft(at: number = serverNow()): number | null {
    return this.leaseUntil === null ? null : Date.parse(this.leaseUntil) - at;
  }
}

const namesOf = ({ claimed_by: holder }: Task): Words | null => (holder === null ? null : [holder.display, holder.display_en || holder.display]);
