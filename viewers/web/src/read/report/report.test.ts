// Is the reader's text safe, and is a signature given once and only for what was meant?
import { beforeEach, describe, expect, it, vi } from "vitest";
import { ApiError, type Draft, type DraftChange, type DraftSaved, type Phrase, type Signed, type SignRequest } from "../../lib/api";
import { type Around, DraftKeeper, draftKey } from "./draft";
import { LeaseKeeper } from "./lease";
import { search, withoutLastPhrase, withPhrase } from "./phrases";
import { type Facts, fieldOf, hindranceOf, Signer } from "./signing";
import { changeWords, valueRows } from "./values";

const draft = (more: Partial<Draft> = {}): Draft => ({ draft_version: 3, findings: "", impression: "", result: null, key_image: null, saved_at: null, author: "su", ...more });
const offline = (): ApiError => new ApiError(0, "offline", "");

class Bench {
  readonly kept = new Map<string, string>();
  readonly sent: DraftChange[] = [];
  answers: (DraftSaved | ApiError)[] = [];
  leases: string[] = [];
  around: Around = {
    save: async (change) => {
      this.sent.push(change);
      const answer = this.answers.shift() ?? { draft_version: change.draft_version + 1, saved_at: "2026-11-23T06:31:00Z", lease_until: "2026-11-23T06:41:00Z" };
      if (answer instanceof ApiError) throw answer;
      return answer;
    },
    storage: { getItem: (key) => this.kept.get(key) ?? null, setItem: (key, value) => void this.kept.set(key, value), removeItem: (key) => void this.kept.delete(key) },
    storageKey: draftKey("7", "su"),
    now: () => Date.now(),
    later: (run, ms) => setTimeout(run, ms),
    never: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
    changed: () => undefined,
    lease: (until) => void this.leases.push(until),
  };
  open(from: Draft = draft()): DraftKeeper {
    return new DraftKeeper(from, this.around);
  }
}

describe("the draft", () => {
  let bench: Bench;
  beforeEach(() => {
    vi.useFakeTimers();
    bench = new Bench();
  });

  it("is saved one second after the last change, with what is on the screen then", async () => {
    const keeper = bench.open();
    keeper.change({ findings: "a" });
    await vi.advanceTimersByTimeAsync(900);
    keeper.change({ findings: "ab" });
    await vi.advanceTimersByTimeAsync(900);
    expect(bench.sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect(bench.sent).toMatchObject([{ draft_version: 3, findings: "ab" }]);
    expect(keeper.kept).toMatchObject({ keeping: "saved", version: 4 });
    expect(bench.leases).toHaveLength(1);
    expect(bench.kept.size).toBe(0); // nothing of a patient stays in the browser
  });

  it("sends one request at a time and the newest text after it", async () => {
    const keeper = bench.open();
    let answer: (saved: DraftSaved) => void = () => undefined;
    bench.around.save = (change) => {
      bench.sent.push(change);
      return new Promise((done) => { answer = done; });
    };
    keeper.change({ findings: "a" });
    await vi.advanceTimersByTimeAsync(1000);
    keeper.change({ findings: "ab" });
    await vi.advanceTimersByTimeAsync(5000);
    expect(bench.sent).toHaveLength(1);
    answer({ draft_version: 4, saved_at: "x", lease_until: "x" });
    await vi.advanceTimersByTimeAsync(1100);
    expect(bench.sent.map((one) => [one.draft_version, one.findings])).toEqual([[3, "a"], [4, "ab"]]);
  });

  it("is kept here while the server does not answer, and sent when it does", async () => {
    const keeper = bench.open();
    bench.answers = [offline(), offline()];
    keeper.change({ findings: "a" });
    expect(await keeper.flush()).toBe(false);
    expect(keeper.kept.keeping).toBe("here");
    expect(bench.kept.get("teleread.draft.su.7")).toContain('"a"');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(keeper.kept.keeping).toBe("saved");
    expect(bench.kept.size).toBe(0);
  });

  it("comes back on return when nothing happened on the server since", async () => {
    bench.answers = [offline()];
    const first = bench.open();
    first.change({ impression: "unsent" });
    await first.flush();
    first.stop();
    const second = bench.open();
    expect(second.kept.fields.impression).toBe("unsent");
    await vi.advanceTimersByTimeAsync(100);
    expect(second.kept.keeping).toBe("saved");
  });

  it("is offered, not forced, when the server has a newer text", async () => {
    bench.kept.set("teleread.draft.su.7", JSON.stringify({ fields: { findings: "old", impression: "", result: null, key_image: null }, version: 1, at: 5 }));
    const keeper = bench.open(draft({ findings: "newer" }));
    expect(keeper.kept.fields.findings).toBe("newer");
    expect(keeper.kept.found?.fields.findings).toBe("old");
    keeper.settleFound(true);
    expect(keeper.kept.fields.findings).toBe("old");
  });

  it("of another author or task is never read", () => {
    bench.kept.set(draftKey("8", "su"), JSON.stringify({ fields: { findings: "x", impression: "", result: null, key_image: null }, version: 3, at: 5 }));
    bench.kept.set(draftKey("7", "ma"), JSON.stringify({ fields: { findings: "y", impression: "", result: null, key_image: null }, version: 3, at: 5 }));
    expect(bench.open().kept.fields.findings).toBe("");
  });

  it("waits for a choice when two windows wrote", async () => {
    const keeper = bench.open();
    bench.answers = [new ApiError(409, "draft_conflict", "", { draft: draft({ draft_version: 9, findings: "there" }) })];
    keeper.change({ findings: "here" });
    await keeper.flush();
    expect(keeper.kept).toMatchObject({ keeping: "conflict", fields: { findings: "here" } });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(bench.sent).toHaveLength(1);
    keeper.settleConflict(true);
    await vi.advanceTimersByTimeAsync(10);
    expect(bench.sent[1]).toMatchObject({ draft_version: 9, findings: "here" });
  });

  it("does not fight with its own save whose answer was lost", async () => {
    const keeper = bench.open();
    bench.answers = [offline(), new ApiError(409, "draft_conflict", "", { draft: draft({ draft_version: 4, findings: "a", saved_at: "x" }) })];
    keeper.change({ findings: "a" });
    await keeper.flush();
    await vi.advanceTimersByTimeAsync(3000);
    expect(keeper.kept).toMatchObject({ keeping: "saved", version: 4 });
  });

  it("survives a lost lease and takes no more changes", async () => {
    const keeper = bench.open();
    bench.answers = [new ApiError(409, "lease_lost", "", { who: "马", who_en: "Ma" })];
    keeper.change({ findings: "mine" });
    await keeper.flush();
    expect(keeper.kept).toMatchObject({ keeping: "lost", holder: ["马", "Ma"] });
    expect(bench.kept.size).toBe(1);
    keeper.change({ findings: "more" });
    expect(keeper.kept.fields.findings).toBe("mine");
  });

  it("stops trying when the server will not take it", async () => {
    const keeper = bench.open();
    bench.answers = [new ApiError(413, "too_long", "")];
    keeper.change({ findings: "a" });
    await keeper.flush();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(bench.sent).toHaveLength(1);
    keeper.change({ findings: "b" });
    await vi.advanceTimersByTimeAsync(1100);
    expect(keeper.kept.keeping).toBe("saved");
  });

  it("is put aside when the page goes away", () => {
    const keeper = bench.open();
    keeper.change({ findings: "a" });
    expect(keeper.leave()).toMatchObject({ draft_version: 3, findings: "a" });
    expect(bench.kept.size).toBe(1);
    expect(bench.open(draft({ draft_version: 4, findings: "a" })).kept.found).toBeNull();
  });
});

describe("the signature", () => {
  const what = { study_id: "1", draft_version: 2, painted: [{ sop_uid: "a", v: "1" }] };
  const signed = { report_id: "r" } as Signed;
  const ids = (): (() => string) => { let n = 0; return () => `id${++n}`; };

  it("is asked for once however often the key is pressed", async () => {
    const sent: SignRequest[] = [];
    const signer = new Signer(async (request) => { sent.push(request); return signed; }, ids());
    const [a, b] = [signer.press(what), signer.press(what)];
    expect(await a).toBe(await b);
    expect(sent).toHaveLength(1);
  });

  it("is asked for again under the same id while the outcome is unknown, by itself and by the next press", async () => {
    const sent: string[] = [];
    let fails = 4;
    const signer = new Signer(async (request) => {
      sent.push(request.request_id);
      if (fails-- > 0) throw offline();
      return signed;
    }, ids());
    await expect(signer.press(what)).rejects.toThrow();
    expect(signer.unknown).toBe(true);
    expect(await signer.press(what)).toBe(signed);
    expect(new Set(sent)).toEqual(new Set(["id1"]));
  });

  it("gets a new id after a refusal", async () => {
    const sent: string[] = [];
    const signer = new Signer(async (request) => {
      sent.push(request.request_id);
      if (sent.length === 1) throw new ApiError(409, "draft_changed", "");
      return signed;
    }, ids());
    await expect(signer.press(what)).rejects.toThrow();
    await signer.press(what);
    expect(sent).toEqual(["id1", "id2"]);
  });

  const facts: Facts = { editable: true, lost: false, painted: true, late: 0, fields: { findings: "", impression: "x", result: "normal", key_image: null }, notOnServer: false, stale: false };
  it("is hindered by one thing at a time, the gravest first", () => {
    expect(hindranceOf(facts)).toBeNull();
    expect(hindranceOf({ ...facts, painted: false, late: 1 })).toBe("not_painted");
    expect(hindranceOf({ ...facts, late: 1, notOnServer: true })).toBe("late_unseen");
    expect(hindranceOf({ ...facts, fields: { ...facts.fields, impression: " \n" } })).toBe("no_impression");
    expect(hindranceOf({ ...facts, fields: { ...facts.fields, result: null } })).toBe("no_result");
    expect(hindranceOf({ ...facts, stale: true })).toBe("stale");
    expect(hindranceOf({ ...facts, fields: { ...facts.fields, findings: "约__mm" } })).toBe("blank");
  });

  it("says which field a refusal is about", () => {
    expect(fieldOf(new ApiError(409, "report_incomplete", "", { fields: ["result"] }))).toBe("result");
    expect(fieldOf(new ApiError(403, "signing_locked", ""))).toBe("password");
    expect(fieldOf(new ApiError(409, "wrong_study", ""))).toBeNull();
  });
});

describe("the lease", () => {
  it("is extended while hands move, every two minutes at most", () => {
    const lease = new LeaseKeeper(0);
    expect(lease.due(500_000)).toBe(false); // nobody moved
    lease.moved(30_000);
    expect(lease.due(60_000)).toBe(false);
    expect(lease.due(120_000)).toBe(true);
    lease.extended(120_000);
    expect(lease.due(400_000)).toBe(false);
  });
});

describe("phrases", () => {
  const phrase = (code: string, zh: string, en: string, pinyin: string, key: number | null = null): Phrase => ({ code, kind: "ECG", zh, en, part: "impression", key, pinyin });
  const all = [phrase("T31", "T 波倒置", "T wave inversion", "tbdz"), phrase("T32", "T 波低平", "Flat T wave", "tbdp"), phrase("R01", "窦性心律", "Sinus rhythm", "dxxl", 1)];

  it("are found by code, pinyin initials, Chinese and English", () => {
    expect(search(all, "t32", 5)[0]?.code).toBe("T32");
    expect(search(all, "tbd", 5).map((one) => one.code)).toEqual(["T31", "T32"]);
    expect(search(all, "倒置", 5).map((one) => one.code)).toEqual(["T31"]);
    expect(search(all, "wave fl", 5).map((one) => one.code)).toEqual(["T32"]);
    expect(search(all, "", 5)[0]?.code).toBe("R01");
    expect(search(all, "zzz", 5)).toEqual([]);
  });

  it("are added once, on lines of their own, and the last one can be taken away", () => {
    const text = withPhrase(withPhrase("", "窦性心律"), "T 波倒置");
    expect(text).toBe("窦性心律\nT 波倒置");
    expect(withPhrase(text, "窦性心律")).toBe(text);
    expect(withoutLastPhrase(text, all)).toBe("窦性心律");
    expect(withoutLastPhrase("own words", all)).toBe("own words");
  });
});

describe("device values", () => {
  it("print -- for what is not known and compare only what is", () => {
    const values = { heart_rate_bpm: 72, pr_ms: null, qrs_ms: 92, qt_ms: 388, qtc_ms: 412, axis_deg: { p: null, qrs: 38, t: -14 }, statements: [] };
    const rows = valueRows(values, { ...values, heart_rate_bpm: 76, pr_ms: 160 });
    expect(rows.map((row) => row.now)).toEqual(["72", "--", "92", "388 / 412", "-- / 38 / −14"]);
    expect(rows.map((row) => changeWords(row.change))).toEqual(["−4", "", "0", "", ""]);
    expect(rows[1]?.known).toBe(false);
    expect(valueRows(null, null).every((row) => row.now === "--")).toBe(true);
  });
});
