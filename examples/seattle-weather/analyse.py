"""Monthly means, extremes and rain by year of a daily weather record. Standard library only.

usage: analyse.py DATA.csv DIRECTORY      writes DIRECTORY/results.json and DIRECTORY/plot.svg
"""

import csv
import json
import os
import sys
from collections import defaultdict
from statistics import mean

MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
RAINY_MM = 1.0


def read(path):
    with open(path, newline="", encoding="utf-8") as source:
        return [
            {
                "date": row["date"],
                "year": int(row["date"][:4]),
                "month": int(row["date"][5:7]),
                "rain": float(row["precipitation"]),
                "high": float(row["temp_max"]),
                "low": float(row["temp_min"]),
            }
            for row in csv.DictReader(source)
        ]


def summary(days):
    hottest = max(days, key=lambda day: day["high"])
    coldest = min(days, key=lambda day: day["low"])
    return {
        "days": len(days),
        "meanC": round(mean((day["high"] + day["low"]) / 2 for day in days), 1),
        "hottest": {"date": hottest["date"], "celsius": hottest["high"]},
        "coldest": {"date": coldest["date"], "celsius": coldest["low"]},
        "rainMm": round(sum(day["rain"] for day in days), 1),
        "rainyDays": sum(day["rain"] >= RAINY_MM for day in days),
    }


def month_of(days, years):
    return {
        "meanHighC": round(mean(day["high"] for day in days), 1),
        "meanLowC": round(mean(day["low"] for day in days), 1),
        "recordHighC": max(day["high"] for day in days),
        "recordLowC": min(day["low"] for day in days),
        "rainMm": round(sum(day["rain"] for day in days) / years, 1),
    }


def analyse(days):
    by_year, by_month = defaultdict(list), defaultdict(list)
    for day in days:
        by_year[day["year"]].append(day)
        by_month[day["month"]].append(day)
    years = {}
    for year, part in sorted(by_year.items()):
        years[str(year)] = summary(part)
        print(f"{year}: {len(part)} days, {years[str(year)]['rainMm']:.0f} mm of rain", flush=True)
    months = {MONTHS[number - 1]: month_of(part, len(by_year)) for number, part in sorted(by_month.items())}
    print(f"monthly means over {len(by_year)} years", flush=True)
    return {"all": summary(days), "years": years, "months": months}


# The plot: two panels over the months, and rain by year on the right.
WIDTH, HEIGHT = 1000, 620
LEFT, PANEL = 70, 560
TOP_T, TALL_T = 110, 270
TOP_R, TALL_R = 430, 130
YEARS_X, YEARS_W = 720, 230
INK, PALE, GRID = "#1f2933", "#7b8794", "#e4e7eb"
WARM, COOL, BAND, RAIN = "#d9480f", "#1c7ed6", "#ffd8a8", "#4dabf7"


class Drawing:
    def __init__(self):
        self.parts = []

    def add(self, element, text=None, **attributes):
        names = " ".join(f'{key.replace("_", "-")}="{value}"' for key, value in attributes.items())
        self.parts.append(f"<{element} {names}/>" if text is None else f"<{element} {names}>{text}</{element}>")

    def text(self, x, y, text, size=12, fill=INK, anchor="start", weight="normal"):
        self.add("text", text, x=round(x, 1), y=round(y, 1), font_size=size, fill=fill, text_anchor=anchor, font_weight=weight)

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1, **more):
        self.add("line", x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1), stroke=stroke, stroke_width=width, **more)

    def curve(self, points, stroke):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.add("polyline", points=path, fill="none", stroke=stroke, stroke_width=2.5, stroke_linejoin="round", stroke_linecap="round")
        for x, y in points:
            self.add("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.2, fill="#fff", stroke=stroke, stroke_width=2)

    def area(self, upper, lower, fill, opacity):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in upper + lower[::-1])
        self.add("polygon", points=path, fill=fill, fill_opacity=opacity)

    def document(self, title):
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">'
        )
        return "\n".join([head, f"<title>{title}</title>", *self.parts, "</svg>", ""])


def plot(results):
    drawing = Drawing()
    months, years, whole = results["months"], results["years"], results["all"]
    span = f"{min(years)}–{max(years)}" if years else ""
    drawing.add("rect", width=WIDTH, height=HEIGHT, fill="#ffffff")
    drawing.text(LEFT - 40, 44, f"Weather in Seattle, {span}", 24, weight="700")
    facts = (
        f"{whole['days']:,} days · mean {whole['meanC']} °C · hottest {whole['hottest']['celsius']} °C on {whole['hottest']['date']}"
        f" · coldest {whole['coldest']['celsius']} °C on {whole['coldest']['date']}"
    )
    drawing.text(LEFT - 40, 70, facts, 13, PALE)
    temperatures(drawing, months)
    monthly_rain(drawing, months)
    yearly_rain(drawing, years)
    drawing.text(LEFT - 40, HEIGHT - 14, "Data: NOAA National Centers for Environmental Information, Seattle-Tacoma airport (public domain)", 11, PALE)
    return drawing.document(f"Weather in Seattle, {span}")


def centre(index, count=12, left=LEFT, width=PANEL):
    return left + width * (index + 0.5) / count


def temperatures(drawing, months):
    values = list(months.values())
    bottom = 5 * (min(month["recordLowC"] for month in values) // 5)
    top = 5 * -(-max(month["recordHighC"] for month in values) // 5)

    def height(celsius):
        return TOP_T + TALL_T * (top - celsius) / (top - bottom)

    def points(key):
        return [(centre(index), height(month[key])) for index, month in enumerate(values)]

    celsius = bottom
    while celsius <= top:
        is_frost = celsius == 0
        drawing.line(LEFT, height(celsius), LEFT + PANEL, height(celsius), PALE if is_frost else GRID)
        drawing.text(LEFT - 10, height(celsius) + 4, f"{celsius:.0f}°", 11, PALE, "end")
        celsius += 5
    drawing.area(points("recordHighC"), points("recordLowC"), BAND, 0.35)
    drawing.area(points("meanHighC"), points("meanLowC"), BAND, 0.9)
    drawing.curve(points("meanHighC"), WARM)
    drawing.curve(points("meanLowC"), COOL)
    drawing.text(LEFT, TOP_T - 14, "Temperature, °C", 13, weight="600")
    drawing.text(LEFT + PANEL, TOP_T - 14, "mean high", 12, WARM, "end", "600")
    drawing.text(LEFT + PANEL - 84, TOP_T - 14, "mean low", 12, COOL, "end", "600")
    drawing.text(LEFT + PANEL - 160, TOP_T - 14, "shaded: records", 12, PALE, "end")


def monthly_rain(drawing, months):
    most = 50 * -(-max(month["rainMm"] for month in months.values()) // 50) or 50
    for step in range(0, int(most) + 1, 50):
        y = TOP_R + TALL_R * (1 - step / most)
        drawing.line(LEFT, y, LEFT + PANEL, y)
        drawing.text(LEFT - 10, y + 4, str(step), 11, PALE, "end")
    for index, (name, month) in enumerate(months.items()):
        tall = TALL_R * month["rainMm"] / most
        x = centre(index)
        drawing.add("rect", x=f"{x - 15:.1f}", y=f"{TOP_R + TALL_R - tall:.1f}", width=30, height=f"{tall:.1f}", rx=3, fill=RAIN)
        drawing.text(x, TOP_R + TALL_R - tall - 5, f"{month['rainMm']:.0f}", 11, INK, "middle")
        drawing.text(x, TOP_R + TALL_R + 18, name, 12, INK, "middle")
    drawing.text(LEFT, TOP_R - 16, "Rain in an average month, mm", 13, weight="600")


def yearly_rain(drawing, years):
    tall = TOP_R + TALL_R - TOP_T
    most = max(year["rainMm"] for year in years.values()) * 1.12
    drawing.text(YEARS_X, TOP_T - 14, "Rain by year, mm", 13, weight="600")
    drawing.line(YEARS_X, TOP_R + TALL_R, YEARS_X + YEARS_W, TOP_R + TALL_R, PALE)
    for index, (name, year) in enumerate(years.items()):
        x = centre(index, len(years), YEARS_X, YEARS_W)
        bar = tall * year["rainMm"] / most
        width = min(42, YEARS_W / len(years) * 0.72)
        y = TOP_R + TALL_R - bar
        drawing.add("rect", x=f"{x - width / 2:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{bar:.1f}", rx=4, fill=COOL, fill_opacity=0.85)
        drawing.text(x, y - 8, f"{year['rainMm']:,.0f}", 13, INK, "middle", "600")
        drawing.text(x, y + 20, str(year["rainyDays"]), 12, "#ffffff", "middle", "600")
        drawing.text(x, y + 34, "days", 10, "#ffffff", "middle")
        drawing.text(x, TOP_R + TALL_R + 18, name, 12, INK, "middle")


def write(path, text):
    with open(path, "w", encoding="utf-8") as target:
        target.write(text)
    print(f"wrote {path}", flush=True)


def main(source, directory):
    days = read(source)
    print(f"read {len(days):,} days from {source}", flush=True)
    results = analyse(days)
    os.makedirs(directory, exist_ok=True)
    write(os.path.join(directory, "results.json"), json.dumps(results, indent=2) + "\n")
    write(os.path.join(directory, "plot.svg"), plot(results))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    main(sys.argv[1], sys.argv[2])
