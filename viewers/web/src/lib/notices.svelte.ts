// Which reports that I have opened were withdrawn or replaced since?
import { api, type Notice } from "./api";
import { onLive } from "./live";

class Notices {
  unseen = $state.raw<Notice[]>([]);
}

export const notices = new Notices();

async function refresh(): Promise<void> {
  try {
    notices.unseen = (await api.notices.unseen()).notices;
  } catch {
    // What is known stays; the next event asks again.
  }
}

/** Follow them while a page is open; call the answer to stop. */
export function watchNotices(): () => void {
  void refresh();
  const off = [onLive("report", () => void refresh()), onLive("opened", () => void refresh())];
  return () => {
    for (const stop of off) stop();
  };
}

/** The person has read it. */
export async function putAway(notice: Notice): Promise<void> {
  notices.unseen = notices.unseen.filter((one) => one.id !== notice.id);
  await api.notices.seen(notice.id).catch(() => refresh());
}
