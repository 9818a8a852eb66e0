//! Days: they begin, rows of theirs expire, they end. What is deleted at a day's end may be
//! millions of rows, and the same loop keeps the clocks that an observer sees; so it is done in
//! slices.

use std::collections::VecDeque;

use crate::desk::{Desk, Moment};
use crate::limits;
use crate::store::{Cursor, Day, Store, StoreFault, Table};

/// What is to be deleted, a slice at a time.
#[derive(Debug)]
enum Chore {
    /// A day whose rows have all expired.
    End(Day),
    /// The rows of one table of a day, from here on.
    Clear(Day, Table, Cursor),
}

/// How far the calendar was followed.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    /// The day to which the store was turned last.
    turned: Option<Day>,
    swept_hour: u32,
    chores: VecDeque<Chore>,
}

impl<S: Store> Desk<S> {
    /// Follows the calendar: begins the day of `at`, plans the end of what has expired, and deletes
    /// what expires by the hour. A day that began stays: a clock that goes back brings nothing
    /// back. The caller bounds how far `at` may be ahead of the network's time, for a clock that
    /// jumps ahead ends days. Cheap when nothing is due. [`Self::work`] does what was planned.
    pub fn turn(&mut self, at: Moment) {
        let day = Day::at(at.wall).max(self.today);
        if self.calendar.turned != Some(day) {
            let begun = self.store.begin(day);
            if self.check(begun).is_some() {
                self.calendar.turned = Some(day);
                self.begin_day(day);
            }
        }
        if at.hour() > self.calendar.swept_hour {
            self.calendar.swept_hour = at.hour();
            let swept = self.sweep_drops(at);
            self.check(swept);
        }
    }

    fn begin_day(&mut self, day: Day) {
        self.today = day;
        let kept = self.rules.item_days.max(self.rules.hash_days);
        let oldest = day.minus(kept);
        let days = self.store.days();
        // Anew: what an earlier turn planned and did not finish is planned again. Only days whose
        // key is gone and whose rows are not are known by their chore alone.
        let rows_left = |chore: &Chore| matches!(chore, Chore::End(day) if !days.contains(day));
        self.calendar.chores.retain(rows_left);
        for old in days {
            if old < oldest {
                self.calendar.chores.push_back(Chore::End(old));
            } else {
                self.plan_expired(old);
            }
        }
        let items_from = day.minus(self.rules.item_days);
        self.shelves.retain(|_, (_, shelf)| {
            shelf.expire(items_from);
            shelf.day >= items_from
        });
        self.counts.retain(|day, _| *day >= items_from);
        self.tickets.touch();
    }

    fn plan_expired(&mut self, old: Day) {
        let mut clear = |table| {
            let chore = Chore::Clear(old, table, Cursor::default());
            self.calendar.chores.push_back(chore);
        };
        if old < self.today {
            clear(Table::Ballast);
        }
        if old.plus(self.rules.hash_days) < self.today {
            clear(Table::Tomb);
        }
        if old.plus(self.rules.item_days) < self.today {
            Table::ALL.into_iter().for_each(clear);
        }
    }

    /// The oldest day that is still served.
    pub(crate) const fn oldest_served(&self) -> Day {
        self.today.minus(self.rules.item_days)
    }

    /// Whether deletes wait for [`Self::work`].
    pub fn has_chores(&self) -> bool {
        !self.calendar.chores.is_empty()
    }

    /// Does one slice of what is to be deleted: at most [`limits::CHORE_ROWS`] rows, or one day.
    /// What has expired is not served meanwhile. `false` if the disk failed: the slice is to be
    /// tried again.
    pub fn work(&mut self) -> bool {
        let Some(chore) = self.calendar.chores.front() else {
            return true;
        };
        let rest = match chore {
            Chore::End(day) => {
                let day = *day;
                let ended = self.store.end(day);
                ended.map(|done| (!done).then_some(Chore::End(day)))
            }
            Chore::Clear(day, table, from) => {
                let (day, table) = (*day, *table);
                let cleared = self.store.clear(day, table, from, limits::CHORE_ROWS);
                let next = |from| Chore::Clear(day, table, from);
                match cleared {
                    // The day has ended meanwhile, and its rows with it.
                    Err(StoreFault::NoKey) => Ok(None),
                    cleared => cleared.map(|rest| rest.map(next)),
                }
            }
        };
        self.tickets.touch();
        let Some(rest) = self.check(rest) else {
            return false;
        };
        self.calendar.chores.pop_front();
        self.calendar.chores.extend(rest);
        true
    }
}
