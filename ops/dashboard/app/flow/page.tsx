"use client";

import { useEffect, useMemo, useRef, useState } from "react";
import { MotionLayer } from "@/components/flow-motion";
import { FlowScene } from "@/components/flow-scene";
import { Icon } from "@/components/icons";
import { Recent } from "@/components/overview";
import { Blank, Bones, PageHead, Panel } from "@/components/parts";
import { scene as sceneOf } from "@/lib/flow";
import { plural } from "@/lib/format";
import { useFeed, useMedia, useWidth } from "@/lib/hooks";
import { Motion } from "@/lib/motion";
import type { Overview } from "@/lib/types";

export default function FlowPage() {
  const { overview, phase } = useFeed();
  const still = useMedia("(prefers-reduced-motion: reduce)");
  const [paused, setPaused] = useState(false);
  return (
    <>
      <PageHead
        title="Flow"
        tools={
          !still && (
            <button type="button" className="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
              <Icon name={paused ? "play" : "pause"} size={14} />
              {paused ? "Move again" : "Hold still"}
            </button>
          )
        }
      >
        Jobs wait in their tenants&apos; streams, are decided on one by one, and run at workers. What is stolen, hedged, recovered or
        refused is seen on its way.
      </PageHead>
      {overview === null ? (
        <Panel title="Tenants, scheduler, workers">
          <Bones rows={9} height={48} />
        </Panel>
      ) : (
        <Picture overview={overview} moving={!still && !paused && phase === "live"} />
      )}
      {overview && <Recent events={overview.recent} span="" />}
    </>
  );
}

function Picture({ overview, moving }: { overview: Overview; moving: boolean }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const motion = useRef<Motion | null>(null);
  motion.current ??= new Motion();
  const mine = motion.current;
  const scene = useMemo(() => (width > 0 ? sceneOf(overview, width) : null), [overview, width]);
  const [dot, setDot] = useState(1);
  useEffect(() => {
    if (!scene) return;
    mine.take(overview, scene, performance.now());
    setDot(mine.dot);
  }, [overview, scene, mine]);
  const nothing = overview.tenants.length === 0 && overview.workers.length === 0;
  return (
    <Panel title="Tenants, scheduler, workers" side={<Legend dot={dot} box={scene?.box ?? 1} />}>
      <div ref={box} className="stage">
        {nothing ? (
          <Blank title="Nothing flows yet">
            Start workers and submit jobs: <code>parallax up</code>, then <code>parallax loadgen --rate 30</code>
          </Blank>
        ) : (
          scene && (
            <>
              <FlowScene scene={scene} overview={overview} />
              <MotionLayer motion={mine} scene={scene} running={moving} />
            </>
          )
        )}
      </div>
    </Panel>
  );
}

const SIGNS: [string, string][] = [
  ["var(--c2)", "stolen"],
  ["var(--c4)", "hedged"],
  ["var(--c6)", "recovered, refused"],
];

function Legend({ dot, box }: { dot: number; box: number }) {
  return (
    <span className="legend flow-legend">
      {SIGNS.map(([color, name]) => (
        <span key={name}>
          <i className="swatch" style={{ background: color, borderRadius: "50%" }} />
          {name}
        </span>
      ))}
      <span>
        <i className="swatch" style={{ background: "var(--c3)", height: 2, width: 12 }} />
        KV cache
      </span>
      <span className="num">
        a dot is {plural(dot, "job")}, a box {plural(box, "job")}
      </span>
    </span>
  );
}
