"use client";

interface ChoiceProps {
  label: string;
  options: string[];
  value: string;
  onChange: (value: string) => void;
}

/** One of a few: a row of buttons of which one is pressed. */
export function Choice({ label, options, value, onChange }: ChoiceProps) {
  return (
    <span className="choice" role="group" aria-label={label}>
      {options.map((option) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => onChange(option)}>
          {option}
        </button>
      ))}
    </span>
  );
}
