"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import { useEffect, useState, type ReactNode } from "react";
import { KeyButton, KeyDialog, Toasts, useStanding } from "@/components/actions";
import { Icon, Mark, type IconName } from "@/components/icons";
import { ThemeButton } from "@/components/theme";
import { reconnect, type Feed } from "@/lib/feed";
import { clock, count, duration } from "@/lib/format";
import { useFeed } from "@/lib/hooks";

interface Place {
  href: string;
  label: string;
  icon: IconName;
}

const PLACES: [string, Place[]][] = [
  [
    "",
    [
      { href: "/", label: "Overview", icon: "overview" },
      { href: "/flow/", label: "Flow", icon: "flow" },
    ],
  ],
  [
    "Cell",
    [
      { href: "/tenants/", label: "Tenants", icon: "tenants" },
      { href: "/workers/", label: "Workers", icon: "workers" },
      { href: "/models/", label: "Models", icon: "models" },
      { href: "/jobs/", label: "Jobs", icon: "jobs" },
      { href: "/policies/", label: "Policies", icon: "policies" },
    ],
  ],
  [
    "Try out",
    [
      { href: "/playground/", label: "Playground", icon: "playground" },
      { href: "/lab/", label: "Lab", icon: "lab" },
    ],
  ],
];

export function Shell({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState(false);
  const path = usePathname();
  const feed = useFeed();
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    const leave = (event: KeyboardEvent): void => {
      if (event.key === "Escape") setOpen(false);
    };
    window.addEventListener("keydown", leave);
    return () => window.removeEventListener("keydown", leave);
  }, []);
  const old = feed.overview !== null && (feed.phase === "stale" || feed.phase === "disconnected");
  return (
    <>
      <a className="skip" href="#content">
        Skip to content
      </a>
      <div className="frame">
        <Side open={open} path={path} feed={feed} />
        <button type="button" className="scrim" data-open={open} aria-label="Close the menu" tabIndex={-1} onClick={() => setOpen(false)} />
        <div className="main">
          <Bar feed={feed} open={open} onMenu={() => setOpen(!open)} />
          <Trouble feed={feed} />
          <main id="content" tabIndex={-1} className={old ? "page aged" : "page"}>
            {children}
          </main>
        </div>
      </div>
      <KeyDialog />
      <Toasts />
    </>
  );
}

function Side({ open, path, feed }: { open: boolean; path: string; feed: Feed }) {
  const { session } = useStanding();
  const overview = feed.overview;
  const counts: Record<string, string> = overview
    ? {
        "/tenants/": count(overview.tenants_active),
        "/workers/": `${overview.workers_alive}/${overview.workers_total}`,
        "/jobs/": count(overview.open_jobs),
      }
    : {};
  return (
    <div className="side" data-open={open} id="menu">
      <Link href="/" prefetch={false} className="brand">
        <Mark />
        Parallax
      </Link>
      <nav className="nav" aria-label="Pages">
        {PLACES.map(([head, places]) => (
          <div key={head} className="nav" style={{ marginTop: head ? 4 : 0 }}>
            {head && <div className="nav-head">{head}</div>}
            {places.map((place) => (
              <Link key={place.href} href={place.href} prefetch={false} aria-current={path === place.href ? "page" : undefined}>
                <Icon name={place.icon} />
                {place.label}
                {counts[place.href] && <span className="count num">{counts[place.href]}</span>}
              </Link>
            ))}
          </div>
        ))}
      </nav>
      <div className="side-foot num">
        <span>{session ? `version ${session.version}` : " "}</span>
      </div>
    </div>
  );
}

function Bar({ feed, open, onMenu }: { feed: Feed; open: boolean; onMenu: () => void }) {
  return (
    <header className="bar">
      <button type="button" className="icon-button menu-button" aria-label="Menu" aria-expanded={open} aria-controls="menu" onClick={onMenu}>
        <Icon name="menu" size={18} />
      </button>
      <div className="crumb">
        <span className="cut">
          cell <b>{feed.overview?.cell ?? "–"}</b>
        </span>
        <span className="cell-name cut">{feed.overview ? `led by ${feed.overview.leader?.name ?? "nobody"}` : ""}</span>
      </div>
      <div className="right">
        <FeedBadge feed={feed} />
        <KeyButton />
        <ThemeButton />
      </div>
    </header>
  );
}

const PHASES: Record<Feed["phase"], string> = {
  connecting: "Connecting",
  live: "Live",
  stale: "Stale",
  disconnected: "Offline",
};

function FeedBadge({ feed }: { feed: Feed }) {
  return (
    <span className="feed" data-phase={feed.phase} role="status" title={`Last news at ${clock(feed.overview?.at)}`}>
      <i aria-hidden="true" />
      {PHASES[feed.phase]}
    </span>
  );
}

/** What is wrong with what is shown, above everything that is shown. */
function Trouble({ feed }: { feed: Feed }) {
  const since = feed.overview ? ` What you see is from ${clock(feed.overview.at)}.` : "";
  if (feed.phase === "disconnected")
    return (
      <div className="banner" data-tone="bad" role="alert">
        <span>
          <b>Connection lost.</b> It is tried again every few seconds.{since}
        </span>
        <button type="button" className="button" data-size="small" onClick={reconnect}>
          Try now
        </button>
      </div>
    );
  if (feed.phase === "stale")
    return (
      <div className="banner" data-tone="warn" role="alert">
        <span>
          <b>No news for more than 3 seconds.</b> {feed.trouble ?? "The server is connected but tells nothing."}
          {since}
        </span>
      </div>
    );
  if (feed.overview?.stale)
    return (
      <div className="banner" data-tone="warn" role="alert">
        <span>
          <b>Nobody leads.</b> Rates and latencies are the last known
          {feed.overview.figures_age_s !== null ? `, ${duration(feed.overview.figures_age_s)} old` : ""}. Start a scheduler, or wait for
          the lease to pass.
        </span>
      </div>
    );
  return null;
}
