// What must this person be told about reports opened before: which were withdrawn or replaced since?
import { type Patient, send } from "../lib/api";
import { onLive } from "../lib/live";

export interface Notice {
  id: number;
  what: "withdrawn" | "replaced";
  report_id: string;
  replaced_by: string | null;
  patient: Patient;
  reason: string | null;
  told_at: string;
}

/** Notices of the server; they stay, over days and workstations, until the person puts them away. */
export class Notices {
  all = $state.raw<Notice[]>([]);
  #asking = 0;

  async refresh(): Promise<void> {
    const mine = ++this.#asking;
    try {
      const response = await send("/api/notices");
      const { notices } = (await response.json()) as { notices: Notice[] };
      if (mine === this.#asking) this.all = notices;
    } catch {
      // The list below says that the line is dead; what was told stays.
    }
  }

  /** Read. The next look at the server shows it again if this did not arrive. */
  async putAway(notice: Notice): Promise<void> {
    this.#asking += 1;
    this.all = this.all.filter((other) => other.id !== notice.id);
    await send(`/api/notices/${notice.id}/seen`, { method: "POST", json: {} }).catch(() => this.refresh());
  }

  /** Follow the server while the page is open. */
  watch(): () => void {
    void this.refresh();
    const off = [
      onLive("opened", () => void this.refresh()),
      onLive("report", ({ state }) => { if (state === "withdrawn" || state === "replaced") void this.refresh(); }),
    ];
    return () => { for (const stop of off) stop(); };
  }
}
