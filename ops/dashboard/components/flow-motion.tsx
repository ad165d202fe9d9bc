"use client";

import { useEffect, useRef } from "react";
import { useTheme } from "@/components/theme";
import type { Scene } from "@/lib/flow";
import type { Motion } from "@/lib/motion";

interface MotionProps {
  motion: Motion;
  scene: Scene;
  running: boolean;
}

/** The dots, on a canvas above the picture: drawn in each frame, while it is looked at. */
export function MotionLayer({ motion, scene, running }: MotionProps) {
  const ref = useRef<HTMLCanvasElement>(null);
  const theme = useTheme();
  const { width, height } = scene;

  useEffect(() => {
    const canvas = ref.current;
    const context = canvas?.getContext("2d");
    if (!canvas || !context || !running) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const style = getComputedStyle(document.documentElement);
    const colours = new Map<string, string>();
    const paint = (name: string): string => {
      const known = colours.get(name);
      if (known) return known;
      const value = style.getPropertyValue(name.slice(4, -1)).trim();
      colours.set(name, value);
      return value;
    };
    let last = performance.now();
    let frame = requestAnimationFrame(function step(now) {
      motion.pass(now, Math.min(100, now - last));
      last = now;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      motion.draw(context, now, paint);
      frame = requestAnimationFrame(step);
    });
    return () => {
      cancelAnimationFrame(frame);
      context.clearRect(0, 0, width, height);
    };
  }, [motion, width, height, running, theme]);

  return <canvas ref={ref} className="dots" style={{ width, height }} aria-hidden="true" />;
}
